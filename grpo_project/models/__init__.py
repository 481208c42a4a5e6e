"""Language models: loading and saving, memory, decoding, the planner's tokenizer, more layers, vLLM, export."""

"""Language models: loading and saving, memory, decoding, the planner's tokenizer, depth up-scaling, vLLM, export."""

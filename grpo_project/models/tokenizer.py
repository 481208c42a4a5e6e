"""The tiny planner's tokenizer: one token per name, "(action" one token, a whole problem in some fifty tokens.

Every word that the training domains of the registry and the naming families of their objects can produce is in the
vocabulary; any other word becomes <unk>. Tokens carry their own leading space or bracket, so decoding is plain concatenation.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from grpo_project.domains import training_domains
from grpo_project.pddl.model import TRAJECTORY_OPERATORS

SPECIAL_TOKENS = ("<pad>", "<unk>", "<eos>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<|assistant|>{% generation %}{{ message['content'] }}<eos>{% endgeneration %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# One alternative per kind of token: the opening of a step, its end, a word with its leading space, a bare word.
_PATTERN = r"\([a-z][\w\-]*|\)\n| [^\s()]+| [()]|[^\s()]+|[()]|\s"


def vocabulary() -> list[str]:
    """Every token, specials first; the same list on every machine with the same domains."""
    tokens: list[str] = list(SPECIAL_TOKENS)
    domains = training_domains().values()
    tokens += [")\n", ")", "(", "\n", " ", " (", " )", " -"]
    for domain in domains:
        tokens.append(domain.name)
        tokens += [f"({action}" for action in domain.domain.actions]
        for predicate in domain.domain.predicates:
            tokens += [f" {sigil}{predicate}" for sigil in ("+", "-", "=", "!", "")]
        tokens += [f" {kind}" for kind in domain.domain.types]
    tokens += [f" {word}" for word in ("and", "or", "not", "imply", "forall", "exists", "=", "object")]
    operators = [word for operator in TRAJECTORY_OPERATORS for word in operator.split()] + ["forall"]
    tokens += [f" {sigil}{word}" for word in operators for sigil in ("", "@")]
    tokens += [f" !{word}" for word in ("or", "not", "imply", "forall", "exists", "=")]
    tokens += [f" {number}" for number in range(33)]
    tokens += [f" ?{variable}" for variable in ("b", "c", "l", "m", "n", "o", "p", "r", "s", "t", "x", "y", "z")]
    tokens += [f" {name}" for domain in domains for name in domain.object_names]
    return list(dict.fromkeys(tokens))


def build_planner_tokenizer() -> PreTrainedTokenizerFast:
    """Left-padding, pad and eos of its own, with a chat template of one user turn and one assistant turn."""
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(vocabulary())}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERN), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )

"""The small planners' tokenizer: one token per name, "(action" one token, a whole problem in some fifty tokens.

Every word that the training domains of the registry and the naming families of their objects can produce is in the
vocabulary. Any other word is spelt: by syllables of two letters where it can be, else letter by letter, so that two names are
never the same tokens. Tokens carry their own leading space or bracket, and "##" marks one that goes on inside a word, so that
decoding is plain concatenation.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from grpo_project.data.neutral_symbols import PARAMETERS, SYMBOLS
from grpo_project.domains import training_domains
from grpo_project.pddl.model import TRAJECTORY_OPERATORS
from grpo_project.prompting.compact import BACKWARDS
from grpo_project.prompting.schemas import ALL_DIFFERENT, SIGILS

SPECIAL_TOKENS = ("<pad>", "<unk>", "<eos>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<|assistant|>{% generation %}{{ message['content'] }}<eos>{% endgeneration %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
REASONING_MARKS = ("<think>", " ;", " </think>")  # around reasoning, and behind each line of it
_CONTINUES = "##"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_OTHER_CHARACTERS = "0123456789-_"
_LONGEST_WORD = 100  # characters; a longer one becomes <unk>
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
        for predicate, variables in domain.domain.predicates.items():
            tokens += [f" {sigil}{predicate}" for sigil in ("+", "-", "=", "!", "")]
            if len(variables) == 2:
                tokens += [f" {sigil}{predicate}{BACKWARDS}" for sigil in ("+", "-", "=", "!")]
        tokens += [f" {kind}" for kind in domain.domain.types]
    tokens += [f" {word}" for word in ("and", "or", "not", "imply", "forall", "exists", "=", "object")]
    operators = [word for operator in TRAJECTORY_OPERATORS for word in operator.split()] + ["forall"]
    tokens += [f" {sigil}{word}" for word in operators for sigil in ("", "@")]
    tokens += [f" !{word}" for word in ("or", "not", "imply", "forall", "exists", "=")]
    tokens += [f" {number}" for number in range(33)]
    tokens += [f" ?{variable}" for variable in ("b", "c", "l", "m", "n", "o", "p", "r", "s", "t", "x", "y", "z")]
    tokens += [f" {name}" for domain in domains for name in domain.object_names]
    tokens += _neutral_symbols()
    pieces = [*_LETTERS, *_OTHER_CHARACTERS, *(c + v for c in _LETTERS if c not in "aeiou" for v in "aeiou")]
    tokens += [f"{begins}{piece}" for begins in (" ", _CONTINUES) for piece in pieces]
    # What a spelt word may begin with: an unknown action, predicate, variable, or the first word of a text.
    tokens += [*_LETTERS, *_OTHER_CHARACTERS, *(f" {sigil}" for sigil in "+=!@?")]
    tokens += REASONING_MARKS
    return list(dict.fromkeys(tokens))


def _neutral_symbols() -> list[str]:
    """The words of the prompt style schemas, and the openings of its steps."""
    numbers = {kind: range(1, count + 1) for kind, count in SYMBOLS.items()}
    sigils = ("", "+", "-", "=", "!", *SIGILS.values(), ALL_DIFFERENT)
    symbols = [f"(act{n}" for n in numbers["act"]]
    symbols += [f"act{n}" for n in numbers["act"]]  # the first word of a prompt
    symbols += [f" {kind}{n}" for kind in ("act", "type", "obj") for n in numbers[kind]]
    symbols += [f" {sigil}pred{n}" for sigil in sigils for n in numbers["pred"]]
    symbols += [f" {sigil}pred{n}{BACKWARDS}" for sigil in "+-=!" for n in numbers["pred"]]
    symbols += [f" {SIGILS[kind]}=" for kind in ("needs", "needs not")]
    return symbols + [f" {mark}v{n}" for mark in ("", "?") for n in range(1, PARAMETERS + 1)]


def build_planner_tokenizer() -> PreTrainedTokenizerFast:
    """Left-padding, pad and eos of its own, with a chat template of one user turn and one assistant turn."""
    words = {token: i for i, token in enumerate(vocabulary())}
    # The longest piece that fits, from the left: a known word is one token.
    spelling = models.WordPiece(
        words, unk_token="<unk>", continuing_subword_prefix=_CONTINUES, max_input_chars_per_word=_LONGEST_WORD
    )
    tokenizer = Tokenizer(spelling)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERN), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_CONTINUES, ""), decoders.Fuse()])
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

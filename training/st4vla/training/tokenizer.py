"""Train the small tokenizer of the untrained presets: byte-level BPE with Qwen's special tokens.

Published checkpoints bring Qwen's own tokenizer; this one has the same pre-tokenization and the same special tokens,
so that prompts have the same layout in a model that fits a test.
"""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from st4vla.training.model.planner import SPECIAL_TOKENS

VOCABULARY = 512
_VERBS = (
    "pick up", "put down", "move", "push", "pull", "lift", "turn", "open", "close", "stack", "place", "grasp",
    "hand over", "slide", "rotate", "reach for",
)  # fmt: skip
_OBJECTS = (
    "red cube", "green block", "blue bowl", "yellow plate", "black mug", "white bottle", "wooden drawer", "metal spoon",
    "left door", "soft sponge", "orange carrot", "purple eggplant", "small basket", "large box", "round lid",
    "tall can",
)  # fmt: skip
_PLACES = (
    "on the table", "into the basket", "next to the plate", "behind the stove", "to the right", "in front of the robot",
    "above the shelf", "inside the cabinet", "between the two bowls", "under the lamp",
)  # fmt: skip
_SENTENCES = (
    "Figure out how to execute it, then locate the key object needed.",
    "Your task is to identify the key objects. Locate their bounding boxes in [x1,y1,x2,y2] format.",
)
# What every conversation about a picture holds: its turns, and answers as JSON.
_LAYOUT = (
    "system\nYou are a helpful assistant.\nuser\n",
    "Locate the red cube, the green cylinder and the blue ball.\nassistant\n",
    '[{"bbox_2d": [12, 34, 56, 78], "label": "red cube"}]',
    '[{"point_2d": [12, 34], "label": "green cylinder"}]',
    '[{"trajectory_2d": [[12, 34], [56, 78]], "label": "blue ball"}]',
    "Locate the point. Where is the bounding box? Answer with its JSON. Which pixel is in the middle?",
    "Find the picture and give bbox_2d and label. Draw a box around and write its corners in pixels.",
)
# Split as Qwen2's tokenizer does: contractions, words with one leading character, single digits, punctuation, blanks.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus() -> list[str]:
    """Return the instructions that the tokenizer is trained on, always the same."""
    instructions = [
        f"{verb} the {thing} {place}"
        for i, verb in enumerate(_VERBS)
        for j, thing in enumerate(_OBJECTS)
        for place in (_PLACES[(i + j) % len(_PLACES)],)
    ]
    return [*instructions, *_SENTENCES * 8, *_LAYOUT * 64]


def train_tokenizer(vocabulary: int = VOCABULARY) -> Tokenizer:
    """Return the tokenizer; its last 14 ids are the special tokens.

    Args:
        vocabulary: Number of tokens in all.

    Raises:
        ValueError: The corpus does not yield that many tokens, or the bytes alone are more.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    wanted = vocabulary - len(SPECIAL_TOKENS)
    trainer = BpeTrainer(
        vocab_size=wanted, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    if tokenizer.get_vocab_size() != wanted:
        raise ValueError(
            f"the built-in corpus yields {tokenizer.get_vocab_size()} tokens and not {wanted}; "
            f"ask for a vocabulary of {tokenizer.get_vocab_size() + len(SPECIAL_TOKENS)}"
        )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    return tokenizer

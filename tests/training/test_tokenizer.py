"""Tests of the built-in tokenizer."""

import pytest

from st4vla.training.model.planner import SPECIAL_TOKENS, special_token_id
from st4vla.training.tokenizer import VOCABULARY, train_tokenizer


def test_training_twice_gives_the_same_tokenizer() -> None:
    assert train_tokenizer().to_str() == train_tokenizer().to_str()


def test_the_special_tokens_are_the_last_ids_in_qwens_order() -> None:
    tokenizer = train_tokenizer()
    assert tokenizer.get_vocab_size() == VOCABULARY
    for token in SPECIAL_TOKENS:
        assert tokenizer.token_to_id(token) == special_token_id(token, VOCABULARY)
    assert special_token_id("<|image_pad|>", 151_936) == 151_655


@pytest.mark.parametrize("text", ["pick up the red cube", "Schließe die Tür 12!\n\n  ok", "拿起红色方块 🤖"])
def test_any_text_survives_encoding_and_decoding(text: str) -> None:
    tokenizer = train_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_vocabulary_beyond_the_corpus_is_refused_with_the_largest_possible_one() -> None:
    with pytest.raises(ValueError, match="ask for a vocabulary of"):
        train_tokenizer(100_000)

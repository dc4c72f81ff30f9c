"""Ask a planner: several prompts at once, each answered greedily."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from st4vla.training.model.planner import patchify, special_token_id
from st4vla.training.policy import St4vlaPolicy


def answer_greedily(
    policy: St4vlaPolicy, prompts: Sequence[tuple[Sequence[Tensor], Sequence[int]]], max_tokens: int
) -> list[list[int]]:
    """Return the tokens that the planner says after each prompt, without the mark that ends them.

    Args:
        policy: In evaluation mode.
        prompts: For each the pictures, RGB uint8 [H, W, 3], and the token ids.
        max_tokens: Stop after this many.
    """
    planner, config = policy.qwen_vl_interface.model, policy.config.planner
    vision, device = config.vision, planner.device
    pictures = [picture for shown, _ in prompts for picture in shown]
    patches = [patchify(picture[None].to(device), vision) for picture in pictures]
    sides = [[1, *(side // vision.patch_size for side in picture.shape[:2])] for picture in pictures]
    end = special_token_id("<|im_end|>", config.vocabulary)
    length = max(len(ids) for _, ids in prompts)
    # Padded on the left, so that all of them go on from the same place.
    token_ids = torch.full((len(prompts), length), special_token_id("<|endoftext|>", config.vocabulary))
    mask = torch.zeros_like(token_ids)
    for row, (_, ids) in enumerate(prompts):
        token_ids[row, length - len(ids) :] = torch.tensor(list(ids))
        mask[row, length - len(ids) :] = 1
    with torch.no_grad():
        # Hugging Face's own loop, for its cache of keys and values.
        said: Tensor = planner.generate(
            input_ids=token_ids.to(device),
            attention_mask=mask.to(device),
            pixel_values=torch.cat(patches).to(planner.dtype),
            image_grid_thw=torch.tensor(sides, device=device),
            max_new_tokens=max_tokens,
            do_sample=False,
            use_cache=True,
            eos_token_id=end,
            pad_token_id=end,
        )[:, length:]
    answers: list[list[int]] = said.tolist()
    return [answer[: answer.index(end)] if end in answer else answer for answer in answers]

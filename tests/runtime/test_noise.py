import numpy as np

from st4vla.runtime.noise import seeded_noise


def test_a_seed_gives_the_same_noise_for_ever() -> None:
    np.testing.assert_array_equal(seeded_noise(7, 16, 7), seeded_noise(7, 16, 7))
    assert not np.array_equal(seeded_noise(7, 16, 7), seeded_noise(8, 16, 7))
    assert seeded_noise(2**64 - 1, 4, 2).shape == (1, 4, 2)


def test_the_noise_is_standard_normal() -> None:
    noise = np.concatenate([seeded_noise(seed, 16, 7).ravel() for seed in range(400)])
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02

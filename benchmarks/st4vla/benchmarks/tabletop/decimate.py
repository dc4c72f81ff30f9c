"""Make a triangle mesh coarse enough for a software rasteriser: vertex clustering with quadric placement."""

import numpy as np
from numpy.typing import NDArray

FLAT_EIGENVALUE_RATIO = 0.05
"""Below this share of the largest eigenvalue a direction lies in the surface, and the vertex must not move along it."""


def decimate(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], cell_m: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Merge all vertices that share a cell of a regular grid and drop the triangles that collapse.

    Each merged vertex is put where it is nearest to the planes of the triangles around it (Lindstrom, "Out-of-core
    simplification of large polygonal models", SIGGRAPH 2000), so edges stay sharp and cylinders keep their radius.

    Args:
        vertices: Points, metres, [V, 3].
        faces: Indices of the corners of each triangle, [F, 3].
        cell_m: Edge of a grid cell, metres, above 0.

    Returns:
        The coarser mesh, as vertices [v, 3] and faces [f, 3].
    """
    cells = np.floor((vertices - vertices.min(axis=0)) / cell_m).astype(np.int64)
    _, cluster = np.unique(cells, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    positions = _quadric_positions(vertices, faces, cluster, cell_m)
    merged = cluster[faces]
    alive = (merged[:, 0] != merged[:, 1]) & (merged[:, 1] != merged[:, 2]) & (merged[:, 2] != merged[:, 0])
    merged = merged[alive]
    _, first = np.unique(np.sort(merged, axis=1), axis=0, return_index=True)
    merged = merged[np.sort(first)]
    used, compact = np.unique(merged, return_inverse=True)
    return positions[used], compact.reshape(-1, 3).astype(np.int64)


def _quadric_positions(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], cluster: NDArray[np.int64], cell_m: float
) -> NDArray[np.float64]:
    """Place each cluster's vertex at the least-squares meeting point of its triangles' planes, [K, 3]."""
    count = int(cluster.max()) + 1
    sizes = np.bincount(cluster, minlength=count)
    means = np.stack([np.bincount(cluster, vertices[:, axis], count) for axis in range(3)], axis=1) / sizes[:, None]

    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(areas, 1e-12)[:, None]
    matrices = np.zeros((count, 3, 3))
    residuals = np.zeros((count, 3))
    for corner in range(3):
        owner = cluster[faces[:, corner]]
        # The plane's distance from the cluster's mean keeps the numbers small.
        distance = areas * np.einsum("fi,fi->f", normals, corners[:, 0] - means[owner])
        for row in range(3):
            residuals[:, row] += np.bincount(owner, distance * normals[:, row], count)
            for column in range(3):
                weights = areas * normals[:, row] * normals[:, column]
                matrices[:, row, column] += np.bincount(owner, weights, count)
    eigenvalues, eigenvectors = np.linalg.eigh(matrices)
    keep = eigenvalues > FLAT_EIGENVALUE_RATIO * np.maximum(eigenvalues[:, -1:], 1e-30)
    inverse = np.where(keep, 1.0 / np.where(keep, eigenvalues, 1.0), 0.0)
    moves = np.einsum("kij,kj,klj,kl->ki", eigenvectors, inverse, eigenvectors, residuals)
    moves[np.linalg.norm(moves, axis=1) > cell_m] = 0.0
    placed: NDArray[np.float64] = means + moves
    return placed

"""Choosing among detected boxes.

Source: ``non_maximum_suppression`` in ``converters/mil/mil/ops/defs/{iOS15,iOS17}/
tensor_operation.py`` of coremltools; what the definition leaves open (a box's score is that of its
best class, which is its class; if no box survives, the best one does) is taken from the reference
in its numerical test.
"""

from __future__ import annotations

import torch

from harness.mil.ops.registry import Effect, Tensor, operation


@operation("non_maximum_suppression", effect=Effect.MOVE)
def non_maximum_suppression(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    max_boxes: int,
    score_threshold: float | None = None,
    per_class_suppression: bool = False,
) -> tuple[Tensor, ...]:
    """Keep boxes in descending order of score that overlap no kept one by more than a threshold.

    Overlap is intersection over union. ``score_threshold`` exists before iOS 17 only, where boxes
    and classes lie along the last axis, and the number of kept boxes is returned, too.

    Args:
        boxes: [N, B, 4] or, from iOS 17, [N, 4, B]: x and y of the centre, width, height.
        scores: [N, B, K] or, from iOS 17, [N, K, B].
        iou_threshold: largest overlap of two kept boxes.
        max_boxes: length of the results; zeros, and -1 for indices, fill them up.
        score_threshold: smallest score of a kept box.
        per_class_suppression: whether only boxes of one class suppress each other.

    Returns:
        Kept boxes and their scores, laid out as given; indices [N, max_boxes]; counts [N].
    """
    boxes_last = score_threshold is None
    if boxes_last:
        boxes, scores = boxes.mT, scores.mT
    lowest = -torch.inf if score_threshold is None else score_threshold
    indices = torch.full((boxes.shape[0], max_boxes), -1, device=boxes.device)
    counts = torch.zeros(boxes.shape[0], dtype=torch.int64, device=boxes.device)
    for item in range(boxes.shape[0]):
        kept = _kept(boxes[item], scores[item], iou_threshold, lowest, per_class_suppression)
        kept = kept[:max_boxes]
        indices[item, : len(kept)] = torch.tensor(kept, device=boxes.device)
        counts[item] = len(kept)
    chosen, chosen_scores = (_take(values, indices) for values in (boxes, scores))
    if boxes_last:
        return chosen.mT.contiguous(), chosen_scores.mT.contiguous(), indices
    return chosen, chosen_scores, indices, counts


def _kept(
    boxes: Tensor, scores: Tensor, iou_threshold: float, lowest: float, per_class: bool
) -> list[int]:
    best, classes = scores.max(-1)
    order = torch.argsort(best, descending=True, stable=True)
    order = order[best[order] >= lowest]
    if len(order) == 0:
        return [int(best.argmax())]
    suppresses = _overlaps(boxes[order]) > iou_threshold
    if per_class:
        of_one_class = classes[order].unsqueeze(0) == classes[order].unsqueeze(1)
        suppresses &= of_one_class
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    kept = []
    for place in range(len(order)):
        if alive[place]:
            kept.append(int(order[place]))
            alive &= ~suppresses[place]
    return kept


def _overlaps(boxes: Tensor) -> Tensor:
    """Return intersection over union of all pairs; 0 where both boxes are empty."""
    centre, size = boxes[:, :2].double(), boxes[:, 2:].double()
    low, high = centre - size / 2, centre + size / 2
    sides = torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)
    shared = sides.clamp(min=0).prod(-1)
    area = size.prod(-1)
    union = area[:, None] + area - shared
    return torch.where(union > 0, shared / union, 0.0)


def _take(values: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of ``values`` [N, B, M] at ``indices`` [N, n]; zeros where they are -1."""
    taken = torch.take_along_dim(values, indices.clamp(min=0).unsqueeze(-1), 1)
    return torch.where(indices.unsqueeze(-1) >= 0, taken, 0)

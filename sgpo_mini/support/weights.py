"""The weights that a run trains: copied, put back, and held apart from the file they came from."""

import torch
from torch import Tensor

from ..student import Student


def weights_of(student: Student) -> dict[str, Tensor]:
    """A copy of the trainable weights."""
    return {name: parameter.detach().clone() for name, parameter in trainable(student)}


@torch.no_grad()
def put_weights(student: Student, weights: dict[str, Tensor]) -> None:
    """Copy weights into the student; an empty dict changes nothing."""
    for name, parameter in trainable(student) if weights else ():
        parameter.copy_(weights[name])


def owned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies outside the file's memory map: Windows can't delete a file that is mapped."""
    return {name: t.clone() if t.device.type == "cpu" else t for name, t in tensors.items()}


def trainable(student: Student) -> list[tuple[str, torch.nn.Parameter]]:
    return [(n, p) for n, p in student.model.named_parameters() if p.requires_grad]


def computed_in(student: Student) -> str:
    return f"{str(student.compute_dtype).removeprefix('torch.')} on {student.device.type}"

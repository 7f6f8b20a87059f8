"""Teachers by name: a server's URL, a model's folder, or a model's name on the Hub."""

from .local_teacher import LocalTeacher
from .server_teacher import ServerTeacher
from .teacher_protocol import Teacher


def open_teacher(
    name: str,
    model: str = "",
    *,
    timeout: float = 120.0,
    chat_template_kwargs: dict | None = None,
) -> Teacher:
    """The teacher with this name: the URL of a server, a folder, or a model's name on the Hub.

    `model` is the name under which the server knows the model. `timeout` is how many seconds the
    server may be silent. `chat_template_kwargs` are passed to a local model's chat template. Raises
    ValueError if there is no such teacher or an argument is invalid.
    """
    if name.startswith(("http://", "https://")):
        return ServerTeacher(name, model, timeout=timeout)
    if "://" in name:
        raise ValueError(f"the teacher's URL must begin with http:// or https://, not {name!r}")
    if model:
        raise ValueError(
            f"--teacher-model names a model on a server, but the teacher {name!r} is not a URL; "
            "leave --teacher-model out"
        )
    return LocalTeacher(name, chat_template_kwargs)

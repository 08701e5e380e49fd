"""A repository of the Hugging Face hub, out of the local cache or else downloaded; and what helps when it cannot be."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streamgen.errors import WeightsError
from streamgen.models.checkpoint_errors import missing, reason

__all__ = ["fetch_file", "fetch_folder", "is_hub_id"]

_LOG = logging.getLogger(__name__)

_HUB_ID = re.compile(r"(?!.*(?:--|\.\.))\w[\w.-]{0,95}/\w(?:[\w.-]{0,94}\w)?", re.ASCII)
# Left to itself huggingface_hub waits without end for the list of a repository's files.
_ANSWER_S = 4.0


def is_hub_id(name: str) -> bool:
    """Whether ``name`` has the form ``owner/model``."""
    return _HUB_ID.fullmatch(name) is not None


def fetch_folder(
    repo: str, marker: str, check: Callable[[Path], object], choose: Callable[[list[str]], list[str]]
) -> Path:
    """The folder of a repository in the local cache, downloaded when it is not there or not whole.

    Args:
        repo: its id.
        marker: a file that it has in any case.
        check: raises ``weights_missing`` when the folder lacks something.
        choose: from the names of all its files those that are needed.

    Raises:
        WeightsError: ``weights_missing``, ``weights_unreachable``, ``weights_gated``; and whatever ``check`` and
            ``choose`` raise.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # Only the marker is asked for: a cache that diffusers filled lacks files that are of no use here.
        folder = Path(snapshot_download(repo, local_files_only=True, allow_patterns=[marker]))
        check(folder)
        return folder
    except LocalEntryNotFoundError:
        _LOG.info("%s is not in the local cache and is looked for on the hub", repo)
    except WeightsError as error:
        if error.code != "weights_missing":
            raise
        _LOG.info("the copy of %s in the local cache is completed from the hub: %s", repo, error.message)
    with _hub_errors(repo):
        info = HfApi().model_info(repo, timeout=_ANSWER_S)
        files = choose([sibling.rfilename for sibling in info.siblings or []])
        folder = Path(snapshot_download(repo, allow_patterns=files, etag_timeout=_ANSWER_S))
    check(folder)
    return folder


def fetch_file(repo: str, name: str) -> Path:
    """One file of a repository; for the ``choose`` of ``fetch_folder``, which names the errors of the hub."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repo, name, etag_timeout=_ANSWER_S))


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Say what to do about the hub's errors."""
    from huggingface_hub import errors

    transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of httpx or of its successor
    try:
        yield
    except errors.HfHubHTTPError as error:
        status, gated = error.response.status_code, isinstance(error, errors.GatedRepoError)
        # The hub answers 401 for what does not exist too, lest private names be found out; its error tells which.
        if status == 404 or (isinstance(error, errors.RepositoryNotFoundError) and not gated):
            login = "if it is private, run hf auth login"
            raise missing(f"there is no {repo}, neither a folder here nor a model on the hub; {login}") from error
        if gated or status in (401, 403):
            raise _gated(repo) from error
        raise _unreachable(repo, f"the hub cannot give {repo} now ({reason(error)}): try again") from error
    except errors.OfflineModeIsEnabled as error:
        raise _unreachable(repo, f"{repo} is not in the local cache and HF_HUB_OFFLINE is set: unset it") from error
    except (transport, OSError) as error:
        fact = f"{repo} is not in the local cache and cannot be fetched ({reason(error)}): go online"
        raise _unreachable(repo, fact) from error


def _gated(repo: str) -> WeightsError:
    page = f"https://huggingface.co/{repo}"
    message = f"{repo} is gated or private: accept its licence at {page} and run hf auth login"
    return WeightsError("weights_gated", message, field="model")


def _unreachable(repo: str, fact: str) -> WeightsError:
    command = f"hf download {repo} --local-dir {repo.partition('/')[2]}"
    message = f"{fact}, or run {command} where there is a network, copy the folder here and name it instead"
    return WeightsError("weights_unreachable", message, field="model", retryable=True)

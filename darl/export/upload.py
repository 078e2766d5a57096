"""The upload of an exported folder to the Hugging Face Hub."""

from pathlib import Path

from darl.errors import UserError, reason

__all__ = ["require_repository", "upload"]


def require_repository(repository: str) -> None:
    """Raise UserError where a repository of the Hub cannot have this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        fits = repository.count("/") == 1
    except HFValidationError:
        fits = False
    if not fits:
        raise UserError(f"must be a name on the Hugging Face Hub, OWNER/NAME, got {repository!r}", field="push")


def upload(folder: Path, repository: str) -> str:
    """Create the repository where there is none, and upload the folder in one commit; returns the commit's address.

    The token is that of `hf auth login`, or `HF_TOKEN`. Raises UserError where the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="darl")
    try:
        created = api.create_repo(repository, exist_ok=True).repo_id
        return str(api.upload_folder(repo_id=created, folder_path=folder, commit_message="Export a DARL encoder"))
    except Exception as error:  # whatever the Hub and the network raise
        remedy = "be a repository that can be written (hf auth login, or HF_TOKEN)"
        raise UserError(f"must {remedy}, got {repository!r} ({reason(error)})", field="push") from None

"""Exit codes of the command line, one per kind of trouble, so that a script can tell them apart."""

from __future__ import annotations

from chassis import errors
from chassis.errors import RagError

OK = 0
FAILED = 1  # a bug, or a threshold that was not met
USAGE = 2  # click's own code for a wrong command line
INVALID = 3  # the request, the documents or the settings are wrong
NOT_FOUND = 4
REFUSED = 5  # credentials or role
UNAVAILABLE = 6  # a dependency is down, or the server sheds load: try again
DEADLINE = 7
PARTLY = 8  # some documents of an ingest failed
NOT_GROUNDED = 9  # the sources do not answer the question
UNSOUND = 10  # a collection or a store has faults that were not repaired
INTERRUPTED = 130  # the shell's convention for SIGINT

_CODES: tuple[tuple[type[RagError], int], ...] = (  # the first that fits counts: narrow before wide
    (errors.InvalidRequest, INVALID),
    (errors.DocumentError, INVALID),
    (errors.MalformedMessage, INVALID),
    (errors.MessageTooLarge, INVALID),
    (errors.SettingsInvalid, INVALID),
    (errors.DataFolderLocked, INVALID),
    (errors.PortInUse, INVALID),
    (errors.GenerationNotReached, INVALID),
    (errors.RollbackUnavailable, INVALID),
    (errors.LayoutOutdated, INVALID),
    (errors.ArchiveInvalid, INVALID),
    (errors.CollectionExists, INVALID),
    (errors.EmbedderMismatch, INVALID),
    (errors.CollectionNotFound, NOT_FOUND),
    (errors.DocumentNotFound, NOT_FOUND),
    (errors.AnswerNotFound, NOT_FOUND),
    (errors.CredentialsMissing, REFUSED),
    (errors.CredentialsInvalid, REFUSED),
    (errors.PermissionDenied, REFUSED),
    (errors.DeadlineExceeded, DEADLINE),
    (errors.BackendUnavailable, UNAVAILABLE),
    (errors.Overloaded, UNAVAILABLE),
    (errors.ShuttingDown, UNAVAILABLE),
    (errors.Conflict, UNAVAILABLE),
)


def code_of(error: RagError) -> int:
    """The exit code an error ends the command with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)

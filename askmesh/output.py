"""What the command line prints: tables and cited answers for people, JSON for programs (-o json)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from askmesh.answers import Answer, Completed, Started
from chassis.errors import BackendUnavailable, InvalidRequest, RagError

# No emoji codes: what is printed is other people's text, in which `tcp:1234:80` is an address.
console = Console(highlight=False, soft_wrap=True, emoji=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def print_json(value: object) -> None:
    """One JSON value on standard output; protobuf messages in their JSON mapping."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=2)
    print(text.encode("utf-8", "backslashreplace").decode())  # an argument that is no Unicode: \udcff is JSON


def plain(value: object) -> object:
    """JSON types for messages, dataclass fields and containers of them."""
    if isinstance(value, Message):
        return MessageToDict(value, always_print_fields_with_no_presence=True)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    names = getattr(value, "__dataclass_fields__", None)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose cells are plain text, never markup."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(str(cell)) for cell in row))
    return made


_NUMBERS = frozenset({"chunks", "characters", "score", "page", "documents", "generation"})


def print_answer(answer: Answer) -> None:
    """The text, then its citations, then one line of figures."""
    console.print(escape(answer.text))
    print_citations(answer)
    print_figures(answer.started, answer.completed)


def print_citations(answer: Answer) -> None:
    """Each citation with where it is and the words that support the answer."""
    console.print()
    for citation in answer.citations:
        place = place_of(citation.title or citation.document_id, citation.section, citation.page)
        console.print(
            f"[bold]\\[{citation.marker}][/bold] {escape(place)}"
            f" [dim]({escape(citation.document_id)} {citation.start_char}-{citation.end_char})[/dim]"
        )
        console.print(f'    [italic]"{escape(_one_line(citation.quote))}"[/italic]')


def place_of(title: str, section: str, page: int) -> str:
    """Where a passage is: its title, the headings below it, its page."""
    headings = section.split(" > ") if section else []
    if headings and headings[0] == title:
        headings = headings[1:]  # a document's first heading is usually its title
    return " > ".join([title, *headings]) + (f", page {page}" if page else "")


def print_figures(started: Started, completed: Completed) -> None:
    """Model, cache, grounding, times, tokens and cost; then a line for everything that was degraded."""
    timings, usage = completed.timings, completed.usage
    cache = started.cache.lower().replace("_", " ")
    if started.cache == "HIT_SEMANTIC":
        cache += f" {started.similarity:.0%}"
    about = "~" if usage.is_estimate else ""
    console.print()
    console.print(
        f"[dim]{escape(started.model)} · cache {cache} · {completed.grounding.lower().replace('_', ' ')}"
        f" · first token {timings.first_token_ms:.0f} ms · total {timings.total_ms:.0f} ms"
        f" · {about}{usage.prompt_tokens + usage.completion_tokens} tokens"
        f" · {completed.cost.amount:.4f} {escape(completed.cost.currency)}[/dim]"
    )
    if completed.is_partial:
        console.print("[yellow]The answer is partial.[/yellow]")
    for item in completed.degraded:
        again = f" Worth asking again in {item.retry_after_s:.0f} s." if item.retry_after_s else ""
        console.print(f"[yellow]Degraded: {escape(item.reason)} ({escape(item.effect)}){again}[/yellow]")


def print_error(error: RagError) -> None:
    """Reason, message, every bad field, and when to try again; on standard error."""
    errors.print(f"[red]{escape(error.reason)}[/red]: {escape(error.message)}")
    if isinstance(error, InvalidRequest) and len(error.violations) > 1:
        for violation in error.violations:
            errors.print(f"  {escape(violation.field)}: {escape(violation.description)}")
    if error.retry_after_s is not None:
        errors.print(f"  Try again in {error.retry_after_s:.1f} s.")
    if type(error) is BackendUnavailable:  # nobody answered; what a server says of its own backends is narrower
        errors.print(
            "  Is it running? `askmesh up` starts it here; --target or ASKMESH_CLIENT_TARGET names another place."
        )
    if error.request_id:
        errors.print(f"  [dim]request {escape(error.request_id)}[/dim]")


def _one_line(text: str) -> str:
    return " ".join(text.split())

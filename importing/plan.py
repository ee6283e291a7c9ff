"""What an import would do, match by match, without writing anything. Imports no torch."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from annotation.match_marks import marks_path, match_name, read_marks
from collection.downloading import SUFFIXES
from collection.sources import video_key, video_name, watch_address, youtube_id
from collection.video_index import SplitIndex, read_splits
from files import UserError
from importing.formats import list_matches, read_labels
from importing.imported import Record, is_changed_by_hand, read_imported, sha256_of, tables_of
from importing.points import Labels
from importing.public_match import PublicMatch
from importing.splits import choose_splits

Key = tuple[str, str]  # (source, match) of a record in imported.csv


@dataclass(frozen=True)
class Planned:
    """What is to be done with a match."""

    match: PublicMatch
    name: str  # of its table of marks
    address: str = ""
    film: Path | None = None  # its file, where there is no address
    labels: Labels | None = None  # None if it is left out
    left_out: str = ""  # why it is not imported
    kept: str = ""  # why the marks on disk stay as they are
    old_name: str = ""  # of its tables on disk, if they are to be renamed
    video: str = ""  # how videos.csv names its video; "" without film and address
    is_listed: bool = False  # whether its video has a split already
    record: Record | None = None  # for imported.csv; None if it is not of an import

    @property
    def key(self) -> Key:
        return self.match.source, self.match.name


@dataclass(frozen=True)
class Plan:
    """All matches of an import, in order, and all records of imported.csv afterwards."""

    matches: list[Planned]
    records: list[Record]
    disagreeing: list[str]  # groups whose lines in videos.csv are in several splits


def make_plan(folders: list[Path], data_dir: Path, given: list[tuple[str, str]]) -> Plan:
    """Plans the import of all matches of some folders; `given` are (match, address) pairs.

    Raises UserError for unknown formats, for addresses that cannot be used and for tables in the
    data folder that cannot be read.
    """
    matches = list_matches(folders)
    imported = read_imported(data_dir)
    addresses = _given_addresses(given, matches)
    listed = read_splits(data_dir)
    owners = {record.name: key for key, record in imported.items()}
    planned, seen = [], set()
    for match in matches:
        one = _name(match, addresses, imported, data_dir)
        if one.key in seen:
            one = replace(one, left_out="the same match as above")
        seen.add(one.key)
        owner = owners.setdefault(one.name, one.key) if not one.left_out else one.key
        if owner != one.key:
            one = replace(one, left_out=f"the same video as {owner[0]} {owner[1]}")
        planned.append(_plan(one, imported.get(one.key), listed, data_dir))
    return _with_splits(planned, imported, listed, data_dir)


def _given_addresses(given: list[tuple[str, str]], matches: list[PublicMatch]) -> dict[Key, str]:
    """{key of a match: watch address} of the --address options."""
    addresses = {}
    for name, address in given:
        video_id = youtube_id(address)
        if video_id is None:
            raise UserError(f"--address {name}: {address} is not the address of a YouTube video")
        found = [m for m in matches if name in (m.reference, m.name, m.plain_name)]
        if not found:
            raise UserError(f"--address {name}: no such match; use a name from the first column")
        addresses[found[0].source, found[0].name] = watch_address(video_id)
    return addresses


def _name(
    match: PublicMatch, given: dict[Key, str], imported: dict[Key, Record], data_dir: Path
) -> Planned:
    """The name of a match's tables, and its address or film.

    A film that lies there under the plain name is the match's video as long as no address is
    recorded.
    """
    key = (match.source, match.name)
    record = imported.get(key)
    film = find_film(match, data_dir)
    if film and not (record and record.address):
        if key in given:
            raise UserError(f"--address {match.reference}: its film is there already, {film}")
        return Planned(match, match.plain_name, film=film, left_out=match.left_out)
    address = given.get(key) or (record.address if record else "") or match.address
    name = match_name(address) if address else match.plain_name
    return Planned(match, name, address, left_out=match.left_out)


def find_film(match: PublicMatch, data_dir: Path) -> Path | None:
    """The file of a match without an address: where its table says, or film_path(); else None."""
    own = film_path(match, data_dir)
    candidates = [Path(match.video)] if match.video else []
    candidates += [own.with_name(own.name.removesuffix(".mp4") + suffix) for suffix in SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def film_path(match: PublicMatch, data_dir: Path) -> Path:
    """Where a match's film is expected if it has no address."""
    return data_dir / "videos" / f"{match.plain_name}.mp4"


def _plan(one: Planned, record: Record | None, listed: SplitIndex, data_dir: Path) -> Planned:
    """Reads a match's labels, and compares them with what is on disk."""
    if one.left_out:
        return one
    try:
        labels = read_labels(one.match)
    except UserError as error:
        return replace(one, left_out=str(error))
    if not labels.truth.rallies:
        return replace(one, left_out="no rally has a certain time")
    old = record.name if record else one.name
    moved = list(zip(tables_of(data_dir, old), tables_of(data_dir, one.name), strict=True))
    kept = ""
    if old != one.name and any(here.exists() and there.exists() for here, there in moved):
        kept = f"there are marks of {one.name} too"
        one = replace(one, name=old, address=record.address)
    _, unknown, _, rallies = (here if here.exists() else there for here, there in moved)
    if not kept and is_changed_by_hand((rallies, unknown), labels.truth, record):
        kept = "changed since its import" if record and record.rallies_sha256 else "marked by hand"
    video = one.address or (video_name(one.film, data_dir) if one.film else "")
    return replace(
        one,
        labels=labels,
        kept=kept,
        old_name=old if any(here.exists() for here, _ in moved) and old != one.name else "",
        video=video,
        is_listed=bool(video) and video_key(video) in listed.split_by_key,
        record=_record(one, labels, record, bool(kept)),
    )


def _record(one: Planned, labels: Labels, before: Record | None, kept: bool) -> Record:
    """The match's line of imported.csv, without a split; what is kept keeps its hashes, if any."""
    truth = labels.truth
    new = Record(
        name=one.name,
        match=one.match.name,
        source=one.match.source,
        address=one.address,
        group=one.match.group,
        split="",
        rallies=str(len(truth.rallies)),
        rallies_sha256=sha256_of(truth.rallies),
        unknown_sha256=sha256_of(truth.unknown),
    )
    if not kept:
        return new
    if before:
        return replace(before, name=one.name, address=one.address, group=new.group)
    return replace(new, rallies_sha256="", unknown_sha256="")


def _with_splits(
    planned: list[Planned], imported: dict[Key, Record], listed: SplitIndex, data_dir: Path
) -> Plan:
    """Gives each group its split, and each record the split of its video, else of its group.

    Groups with a video are shared out first, so that the splits are balanced also among the matches
    that can be collected.
    """
    records = imported | {one.key: one.record for one in planned if one.record}
    split_by_name = {match_name(key): split for key, split in listed.split_by_key.items()}
    with_video = {record.group for record in records.values() if record.address}
    with_video |= {one.match.group for one in planned if one.record and one.video}
    splits_by_group: dict[str, set[str]] = {}
    groups = [(record.name, record.group) for record in records.values()]
    for name, group in groups + [(one.name, one.match.group) for one in planned]:
        if name in split_by_name:
            splits_by_group.setdefault(group, set()).add(split_by_name[name])
    fixed = {r.group: r.split for r in imported.values() if r.split}
    fixed |= {
        group: next(iter(splits)) if len(splits) == 1 else "train"
        for group, splits in splits_by_group.items()
    }
    names = {record.name for record in records.values()}
    counted = Counter()
    for name, split in split_by_name.items():
        if name not in names:
            counted[split] += len(read_marks(marks_path(data_dir, name)))
    rallies = _rallies_by_group(r for r in records.values() if r.group in with_video)
    fixed |= choose_splits(rallies, fixed, counted)
    chosen = choose_splits(_rallies_by_group(records.values()), fixed, counted)
    records = {
        key: replace(record, split=split_by_name.get(record.name, chosen[record.group]))
        for key, record in records.items()
    }
    return Plan(
        [replace(one, record=records[one.key]) if one.record else one for one in planned],
        list(records.values()),
        sorted(group for group, splits in splits_by_group.items() if len(splits) > 1),
    )


def _rallies_by_group(records: Iterable[Record]) -> Counter:
    rallies: Counter = Counter()
    for record in records:
        rallies[record.group] += int(record.rallies)
    return rallies

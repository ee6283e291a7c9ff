"""Which split each group of matches goes into. Imports no torch."""

from collections.abc import Mapping

from files import SPLITS

SHARES = dict(zip(SPLITS, (0.70, 0.15, 0.15), strict=True))  # of the rallies


def choose_splits(
    rallies: Mapping[str, int], fixed: Mapping[str, str], counted: Mapping[str, int]
) -> dict[str, str]:
    """{group: split} for each group of `rallies` ({group: its number of rallies}).

    A group in `fixed` stays in its split. The others follow, the largest first, each into the split
    that is furthest below its share. `counted` is {split: rallies that it has already}, without
    those of these groups.
    """
    chosen = {group: fixed[group] for group in rallies if group in fixed}
    totals = {split: counted.get(split, 0) for split in SPLITS}
    for group, split in chosen.items():
        totals[split] += rallies[group]
    everything = sum(totals.values()) + sum(rallies[g] for g in rallies if g not in chosen)
    new = sorted(
        (group for group in rallies if group not in chosen), key=lambda g: (-rallies[g], g)
    )
    for group in new:
        below = {split: SHARES[split] * everything - totals[split] for split in SPLITS}
        chosen[group] = max(SPLITS, key=below.__getitem__)
        totals[chosen[group]] += rallies[group]
    return chosen

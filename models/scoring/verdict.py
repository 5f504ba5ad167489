"""The run in words: who should choose which backend, from what was measured, and how sure one may be."""

from collections.abc import Sequence

from models.scoring import notes, words
from models.scoring.facts import RunFacts
from models.scoring.results import Advice, BackendResult, Galleries, Pair, Verdict
from models.scoring.standing import Gap, Standing


def verdict(run: RunFacts, results: Sequence[BackendResult], pairs: Sequence[Pair], galleries: Galleries) -> Verdict:
    """Conclude. Every sentence follows from a figure of the result; what is judged without one says so."""
    standing = Standing(run.mode, results, pairs)
    return Verdict(
        headline=_headline(standing) if standing.judged else _unlabelled(results, pairs),
        trade_off=_trade_off(standing) if standing.judged else None,
        advice=tuple(_advice(one, standing) for one in standing.judged),
        notes=tuple(notes.notes(run, results, galleries)),
    )


def _unlabelled(results: Sequence[BackendResult], pairs: Sequence[Pair]) -> str:
    if not any(one.answered for one in results):
        return "No image was answered, so there is nothing to compare."
    told = [(pair.agreement, pair) for pair in pairs if pair.agreement is not None]
    if not told:
        return "No answered image has a label, so nobody knows how often the answers are right."
    least, pair = min(told, key=lambda one: one[0])
    most, _ = max(told, key=lambda one: one[0])
    start = "No answered image has a label, so nobody knows who is right:"
    if len(told) == 1:
        return f"{start} {pair.first} and {pair.second} say the same of {words.percent(least)} of {pair.compared:,} images."
    lowest = f"{words.percent(least)} ({pair.first}, {pair.second})"
    return f"{start} two backends say the same of {lowest} to {words.percent(most)} of the images."


def _headline(standing: Standing) -> str:
    best, leaders = standing.best, standing.leaders
    assert best.quality  # noqa: S101  # judged
    images = f"{best.quality.accuracy.images:,} images"
    if len(standing.judged) == 1:
        return f"{best.name} is right on {words.interval(best.quality.accuracy)} of {images}."
    if len(leaders) == 1:
        second = standing.judged[1]
        gap = standing.gap(best, second)
        lead = f", {words.points(gap.change)} ahead of {second.name}, {_certainty(gap)}" if gap else ""
        return f"{best.name} is the most accurate: right on {words.interval(best.quality.accuracy)} of {images}{lead}."
    cheapest, fastest = standing.cheapest(leaders), standing.fastest(leaders)
    names = words.listed([one.name for one in leaders])
    start = f"{names} can't be told apart by accuracy on {images} ({_range(leaders)})"
    if cheapest and cheapest is fastest:
        return f"{start}; {cheapest.name} is the cheapest and the fastest of them."
    merits = [f"{cheapest.name} costs the least" if cheapest else "", f"{fastest.name} is the fastest" if fastest else ""]
    told = " and ".join(merit for merit in merits if merit)
    return f"{start}{f'; of them {told}' if told else ''}."


def _range(leaders: Sequence[BackendResult]) -> str:
    values = [one.quality.accuracy.value for one in leaders if one.quality]
    low, high = words.percent(min(values)), words.percent(max(values))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _trade_off(standing: Standing) -> str | None:
    cheapest, pick = standing.cheapest(standing.judged), standing.pick
    if cheapest is None or cheapest in standing.leaders:
        return None
    gap, saved = standing.gap(pick, cheapest), standing.times_dearer(pick, cheapest)
    if gap is None or saved is None:
        return None
    less = f"costs {saved} less an image than {pick.name}"
    return f"{cheapest.name} {less} and is {words.points(gap.change)} worse, {_certainty(gap)}."


def _advice(one: BackendResult, standing: Standing) -> Advice:
    return Advice(backend=one.name, choose=_choose(one, standing), because=" ".join(_because(one, standing)))


def _choose(one: BackendResult, standing: Standing) -> str:
    reasons = []
    beaten = standing.beaten_by(one)
    alone = len(standing.judged) == 1
    if one in standing.leaders and beaten is None and not alone:
        reasons.append("accuracy counts most")
    if one is standing.cheapest(standing.judged):
        reasons.append("each image must cost as little as can be")
    if one is standing.fastest(standing.judged):
        reasons.append("an answer must come fast" if standing.mode == "latency" else "many images must go through")
    if one.facts.kind == "custom_vision":
        reasons.append("nobody is there to train or to run a model (which no figure here tells)")
    if reasons:
        return f"If {words.listed(reasons, 'or')}."
    if alone:
        return "Nothing was measured beside it."
    if beaten is not None:
        more = "more accurate" if standing.ahead(beaten, one) else "as accurate as far as can be told"
        return f"No figure here speaks for it: {beaten.name} is {more}, and neither dearer nor slower."
    return "As a compromise: none is better in every way."


def _because(one: BackendResult, standing: Standing) -> list[str]:
    assert one.quality  # noqa: S101  # judged
    best = standing.best
    said = [f"Right on {words.interval(one.quality.accuracy)}."]
    gap = standing.gap(best, one) if one is not best else None
    if gap is not None and gap.certain:
        said.append(f"{words.points(gap.change)} behind {best.name}, {_certainty(gap)}.")
    elif gap is not None:
        said.append(f"Not to be told from {best.name} ({words.chance(gap.p)}): {_span(gap)}.")
    if one.cost:
        rival = best if one is standing.pick else standing.pick
        saved, extra = standing.times_dearer(rival, one), standing.times_dearer(one, rival)
        than = f", {saved} less than {rival.name}" if saved else f", {extra} more than {rival.name}" if extra else ""
        said.append(f"{words.usd(one.cost.usd_per_1000)} USD per 1,000 images{than}.")
    if standing.mode == "latency" and one.latency:
        total = one.latency.total
        said.append(f"Half of the answers within {words.number(total.p50)} ms, 99 % within {words.number(total.p99)} ms.")
    elif standing.mode == "throughput" and one.images_per_second:
        said.append(f"{words.number(one.images_per_second)} images a second.")
    return [*said, *_training(one)]


def _training(one: BackendResult) -> list[str]:
    made = one.facts.training
    if made is None or (made.minutes is None and made.usd is None):
        return []
    time = f" in {words.minutes(made.minutes)}" if made.minutes is not None else ""
    money = f" for {words.usd(made.usd)} USD" if made.usd is not None else ""
    return [f"Trained{time}{money}."]


def _certainty(gap: Gap) -> str:
    if gap.p < 0.001:
        return f"certainly ({words.chance(gap.p)})"
    return f"{'more than chance explains' if gap.certain else 'which may be chance'} ({words.chance(gap.p)})"


def _span(gap: Gap) -> str:
    """Of the best one's lead, as the other one sees it."""
    behind, ahead = gap.change.high * 100, -gap.change.low * 100
    return (
        f"anything between {behind:.1f} points behind and {ahead:.1f} ahead" if ahead > 0 else f"up to {behind:.1f} points behind"
    )

"""An outcome, for people."""

from __future__ import annotations

from bench.load.outcome import Findings, Outcome
from bench.load.plan import Plan

PERCENTILES = (50.0, 90.0, 99.0, 99.9)

_SHOWN_MAX = 5


def intent(plan: Plan) -> str:
    """Say what will be sent."""
    if plan.is_closed:
        pace = "as fast as they are taken" + (f", {plan.window} under way at most" if plan.window else "")
    else:
        pace = f"{plan.rate:g} events a second each" + (" in the mean, in bursts" if plan.thinks else "")
    batch = f"{plan.batch} event{'s' if plan.batch > 1 else ''} {_form(plan)}"
    return f"{plan.recordings:,} recordings for {plan.for_s:g} s, {pace}; {batch}"


def _form(plan: Plan) -> str:
    if plan.is_post:
        return "a body" + (f" in {plan.encoding}" if plan.is_compressed else "")
    if plan.is_compressed:
        return f"a binary message in {plan.encoding}, " + (
            "a stream each" if plan.stream == "each" else "one stream over all"
        )
    kind = "a binary message" if plan.is_binary else "a text message"
    deflated = {
        "off": "",
        "takeover": " with permessage-deflate",
        "no-takeover": " with permessage-deflate, no takeover",
    }
    return kind + deflated[plan.deflate]


def lines_of(outcome: Outcome) -> list[str]:
    """Return the report, line by line."""
    megabytes_s = outcome.bytes_sent / 1e6 / outcome.seconds if outcome.seconds else 0.0
    lines = [
        f"events      {outcome.sent:,} sent, {outcome.acked:,} acked, {outcome.refused:,} refused"
        + (f", {outcome.due - outcome.sent:,} due and never sent" if outcome.due > outcome.sent else ""),
        f"rate        {outcome.events_s:,.0f} events acked a second, {megabytes_s:,.1f} MB a second sent",
    ]
    if outcome.latencies.count:
        parts = [f"p{percentile:g} {outcome.latencies.ms(percentile):,.1f}" for percentile in PERCENTILES]
        lines.append(f"latency ms  {'   '.join(parts)}   max {outcome.latencies.max_ms:,.1f}")
    else:
        lines.append("latency     nothing was acked")
    opened = f"{outcome.opened:,} of {outcome.recordings:,} opened"
    lines.append(f"connections {opened}, {outcome.failed:,} refused, cut or failed")
    lines += [f"            {problem}" for problem in outcome.problems[:_SHOWN_MAX]]
    shares = ", ".join(f"{share:.0%}" for share in outcome.cpu_shares)
    waits = ", ".join(f"{share:.0%}" for share in outcome.wait_shares)
    late = f"at most {outcome.late_s * 1000:.0f} ms late"
    lines.append(f"load        {shares} of a core, waited for it {waits} of the time; {late}")
    lines += _verified(outcome.findings)
    lines += [f"THE LOAD WAS THE LIMIT: {limit}" for limit in outcome.limits]
    return lines


def _verified(findings: Findings | None) -> list[str]:
    if findings is None:
        return ["verified    nothing was read back"]
    unreadable = f", {findings.unreadable} recordings unreadable" if findings.unreadable else ""
    return [
        f"verified    {findings.stored:,} events of {findings.recordings:,} recordings{unreadable}",
        f"            {findings.lost:,} lost, {findings.doubled:,} doubled, {findings.changed:,} changed, "
        f"{findings.disordered:,} disordered",
        *(f"            {problem}" for problem in findings.problems[:_SHOWN_MAX]),
    ]

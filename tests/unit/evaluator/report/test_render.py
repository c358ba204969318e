"""The pages: self-contained, well-formed, deaf to hostile names, and honest about what was not decided."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evaluator import ReportCard
from evaluator.disclosure import LEVELS, apply, band, count_band
from evaluator.render import render_html, render_model_card_section, render_text
from evaluator.render.lights import lights
from evaluator.render.svg import Scale, clean, number
from policies.gate import gate
from policies.metrics import MetricResult
from policies.presets import preset_rules

VOID = {"meta", "br", "link", "hr", "img", "input"}
OPTIONAL = {"p", "li", "td", "th", "tr"}


class Page(HTMLParser):
    """Tags in order, text, and whether every element that must be closed is."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.words, self.attributes = [], [], [], []
        self.feed(text)
        assert not [tag for tag in self.stack if tag not in OPTIONAL]

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        while self.stack and self.stack[-1] in OPTIONAL and self.stack[-1] != tag:
            self.stack.pop()
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(params=["auditor", "recipient"])
def page(report, request):
    verdict = {
        "passed": False,
        "rules": [{"metric": "utility.trend", "status": "fail", "bound": {"min": 0.8}, "message": "m", "blocks": True}],
    }
    return Page(render_html(report, audience=request.param, verdict=verdict))


def test_a_page_needs_no_network_and_no_script(page):
    assert not {"script", "iframe", "link", "img", "object"} & set(page.tags)
    assert not [item for item in page.attributes if item[1] in {"src", "href"} or item[1].startswith("on")]
    assert any(value and value.startswith("default-src 'none'") for _, name, value in page.attributes if name == "content")


def test_hostile_labels_stay_text(report):
    text = render_html(report, audience="auditor")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_hostile_column_and_dataset_names_stay_text(report):
    name = 'x"><img src=x onerror=alert(1)>\u202e\x00'
    metric = MetricResult(value=0.1, direction="lower", method="<b>", detail={"column": name, "plot": {}})
    card = ReportCard(
        dataset=name,
        rows=dict(report.rows),
        seed=1,
        versions={name: name},
        metrics={"utility.marginals.ks.worst": metric, f"utility.marginals.ks.{name}": metric},
        plots={f"utility.marginals.ks.{name}": {"labels": [name], "train": [0.5], "synthetic": [0.5]}},
        notes=(name,),
    )
    for audience in ("auditor", "recipient"):
        page = Page(render_html(card, audience=audience))
        assert "img" not in page.tags
        assert "\u202e" not in "".join(page.words)


def test_the_auditors_page_shows_every_plot_and_number(report):
    page = Page(render_html(report, audience="auditor"))
    words = " ".join(page.words)
    for heading in (
        "Membership inference",
        "Distance to the closest record",
        "By day of the week: number of rows",
        "Learning to predict bought",
    ):
        assert heading in words
    for name in report.metrics:
        assert name in words, name
    assert report.digest in words
    assert "No metric establishes compliance" in words


def test_the_recipients_page_shows_no_exact_number(report):
    text = render_html(report, audience="recipient").split("</style>")[1]
    assert "<svg" not in text
    assert report.digest not in text
    for name, result in report.metrics.items():
        exact = "" if result.value is None else f"{result.value:.4g}"
        if len(exact.strip("0.-")) > 2:
            assert exact not in text, name
    assert "Report card of a synthetic table, for its recipient" in text


def test_plain_words_fit_a_page_and_put_refusals_first(report):
    verdict = {"passed": False, "rules": [{"metric": "a", "status": "fail", "message": "a is too large", "blocks": True}]}
    text = render_text(report, verdict=verdict)
    lines = text.splitlines()
    assert len(lines) < 60
    assert max(len(line) for line in lines) <= 110
    assert text.index("a is too large") < text.index("an attacker")
    assert "compliant" not in text.lower()


def test_an_undecided_metric_is_said_in_words(report):
    unclear = MetricResult.inconclusive(direction="lower", method="m", why="only 3 attacks")
    card = replace(report, metrics=dict(report.metrics) | {"privacy.linkability": unclear})
    assert "Undecided (privacy.linkability): only 3 attacks." in render_text(card)
    shown = {light.metric: light for light in lights(card, None)}
    assert shown["privacy.linkability"].status == "inconclusive"


def test_a_missing_metric_is_never_green(report):
    metrics = {name: result for name, result in report.metrics.items() if not name.startswith("privacy.copies")}
    shown = {light.metric: light.status for light in lights(replace(report, metrics=metrics), None)}
    assert shown["privacy.copies.excess_share"] == "inconclusive"


def test_what_the_gate_has_no_rule_for_is_shown_without_a_line(report):
    rule = {"metric": "utility.trend", "status": "pass", "bound": {"min": 0.1}, "message": "m", "blocks": False}
    shown = {light.metric: light for light in lights(report, {"passed": True, "rules": [rule]})}
    assert shown["utility.trend"].status == "pass"
    assert shown["fairness.representation.worst.ratio"].status == "none"
    assert shown["utility.marginals.ks.worst"].status == "none"
    privacy = {"metric": "privacy.linkability", "status": "pass", "bound": {"max": 0.1}, "message": "m", "blocks": True}
    shown = {light.metric: light for light in lights(report, {"passed": True, "rules": [privacy]})}
    assert [name for name in shown if name.startswith("privacy.")] == ["privacy.linkability"]


def test_banded_leaves_out_what_it_does_not_know(report):
    banded = apply(report, "banded")
    assert set(banded) == {"schema", "disclosure", "dataset", "rows", "metrics"}
    for name, entry in banded["metrics"].items():
        assert set(entry) == {"band", "value", "direction", "status"}
        assert entry["value"] is None
        assert (entry["band"] is None) == (report.metrics[name].value is None)
    assert banded["rows"]["train"] == "300 to 1,000"


def test_verdict_shows_no_metric_and_exact_shows_all(report):
    assert apply(report, "verdict")["metrics"] == {}
    assert apply(report, "exact") == report.to_json()
    with pytest.raises(ValueError, match="disclosure"):
        apply(report, "everything")
    assert LEVELS == ("exact", "banded", "verdict")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("privacy.membership_inference.auc", 0.51, "below 0.55"),
        ("privacy.membership_inference.auc", 0.97, "0.9 or more"),
        ("utility.marginals.ks.worst", 0.07, "0.05 to 0.1"),
        ("utility.validity", 0.999, "0.99 or more"),
        ("privacy.copies.excess_share", -0.2, "below 0.01"),
        ("privacy.nndr.ratio", 1.0, "0.9 to 1.1"),
    ],
)
def test_bands_are_fixed_and_coarse(name, value, expected):
    assert band(name, value) == expected


def test_counts_are_known_to_half_an_order():
    assert [count_band(n) for n in (1, 100, 299, 32_561, 10**12)] == [
        "below 100", "100 to 300", "100 to 300", "30,000 to 100,000", "3,000,000,000 or more",
    ]  # fmt: skip


def test_numbers_and_scales_for_people():
    assert [number(x) for x in (None, 0.0, 0.12345, 12_345_678.0, 0.00012, 3.0)] == [
        "-",
        "0",
        "0.123",
        "12,345,678",
        "1.2e-04",
        "3",
    ]
    scale = Scale(0.0, 1.0, 0.0, 100.0)
    assert scale(0.5) == 50
    assert scale(7.0) == 100
    assert scale.ticks(4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Scale(1e-4, 1.0, 0, 10, is_log=True).ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert clean("a\x00<b>\u202e" + "x" * 100, 10) == "a &lt;b&gt; xxx…"


def test_svg_text_is_escaped(report):
    for figure in re.findall(r"<svg.*?</svg>", render_html(report, audience="auditor"), flags=re.DOTALL):
        Page(figure)


def with_metric(report, name, **given):
    fields = {"value": 0.2, "interval": (0.1, 0.3), "direction": "lower", "method": "m", "n": 100} | given
    return replace(report, metrics=dict(report.metrics) | {name: MetricResult(**fields)})


def said(card):
    return " ".join(render_text(card).split())


def test_words_tell_a_gain_from_chance(report):
    rates = {"attack": 0.30, "control": 0.10}
    card = with_metric(report, "privacy.linkability", detail=rates)
    assert "gains 20.0 points: the halves meet for 30% of train, 10% of strangers." in said(card)
    card = with_metric(report, "privacy.linkability", interval=(-0.1, 0.3), detail=rates)
    assert "gains nothing that can be told from chance" in said(card)
    assert "at most 30% over control" in said(card)


def test_words_name_the_secret_that_is_guessed_best(report):
    found = [name for name in report.metrics if name.startswith("privacy.attribute_inference.")]
    card = with_metric(report, found[0], value=0.9, interval=(0.8, 1.0), detail={"attack": 0.95, "control": 0.05})
    assert f"guesses {found[0].rsplit('.', 1)[-1]} from the nearest synthetic row gains 90.0 points" in said(card)


def test_words_name_a_lost_value_a_lost_relation_and_another_unit(report):
    lost = {"category": "Mexico", "column": "country", "train": 0.02, "synthetic": 0.0}
    card = with_metric(report, "utility.coverage.least_kept", value=0.0, interval=(0.0, 0.1), direction="higher", detail=lost)
    assert "surely lost most is Mexico (country): its holders fell from 2.0% to 0.0%." in said(card)
    card = with_metric(report, "utility.marginals.magnitude.worst", value=1.0, interval=(0.9, 1.1), detail={"column": "spend"})
    assert "Typical sizes in spend changed by a factor of 10: is it another unit?" in said(card)
    assert "another unit" not in said(report)
    pair = {"columns": ["age", "job"]}
    card = with_metric(report, "utility.pairs.dependence.worst", value=0.0, interval=(0.0, 0.1), direction="higher", detail=pair)
    assert "lost most is between age and job: 0.0% of what one tells about the other is left." in said(card)


def test_the_model_card_section_tells_as_much_as_its_reader_may_see(report):
    exact, banded, verdict = (render_model_card_section(report, level=level) for level in LEVELS)
    assert "`utility.marginals.ks.worst`) | " in exact
    assert number(report.metrics["utility.marginals.ks.worst"].value) in exact
    for name, result in report.metrics.items():
        shown = "" if result.value is None else number(result.value)
        if len(shown.strip("0.-")) > 2:
            assert f"| {shown} |" not in banded, name
    assert "300 to 1,000" in banded
    assert "`utility.marginals.ks.worst`" in banded
    assert "`utility." not in verdict
    assert all("No metric establishes compliance" in section for section in (exact, banded, verdict))
    with pytest.raises(ValueError, match="disclosure"):
        render_model_card_section(report, level="everything")


def test_no_name_becomes_markup_in_the_model_card_section(report):
    name = "a](http://x) <b> | `c` *d*"
    hostile = MetricResult(value=0.1, direction="lower", method="m")
    card = replace(report, dataset=name, metrics={f"privacy.attribute_inference.{name}": hostile})
    section = render_model_card_section(card, level="exact")
    assert "<b>" not in section.split("`privacy")[0]
    assert "a\\](http://x) &lt;b&gt; \\| \\`c\\` \\*d\\*" in section
    (row,) = [line for line in section.splitlines() if "attribute" in line]
    assert row.replace("\\|", "").count("|") == 4
    assert row.count("`") == 2


def weakly_leaking(report, p_value):
    found = MetricResult(value=0.004, interval=(0.0, 0.008), p_value=p_value, n=5000, direction="lower", method="m")
    return replace(report, metrics=dict(report.metrics) | {"privacy.copies.excess_share": found})


@pytest.mark.parametrize(("p_value", "status"), [(0.2, "pass"), (0.01, "warn"), (1e-5, "fail")])
def test_a_metric_with_a_rule_that_blocks_and_one_that_warns_has_one_light_the_worse(report, p_value, status):
    card = weakly_leaking(report, p_value)
    rules = [rule for rule in preset_rules("standard") if rule.metric == "privacy.copies.excess_share"]
    assert [rule.severity for rule in rules] == ["block", "warn"]
    verdict = gate(card.metrics, rules)
    for shown in (lights(card, verdict.to_json()), lights(card, None)):
        assert [light.status for light in shown if light.metric == "privacy.copies.excess_share"] == [status]
    if status == "warn":
        assert verdict.passed
        pages = {
            audience: render_html(card, audience=audience, verdict=verdict.to_json()) for audience in ("auditor", "recipient")
        }
        assert "It warns of 1:<ul class=words><li>privacy.copies.excess_share" in pages["auditor"]
        assert "It warns of privacy.copies.excess_share." in pages["recipient"]
        assert "0.01" not in pages["recipient"].split("It warns")[1][:40]
        assert "warning: privacy.copies.excess_share: 'no leak' has the p-value 0.01" in " ".join(
            render_text(card, verdict=verdict.to_json()).split()
        )

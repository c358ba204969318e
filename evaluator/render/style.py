"""The look of the page: one sheet, light and dark, and for print."""

from __future__ import annotations

from typing import Final

__all__ = ["SHEET"]

SHEET: Final = """
:root{--bg:#fbfaf8;--card:#fff;--ink:#1d2129;--soft:#5b6472;--faint:#e4e2dc;--grid:#eeece7;
--train:#2f6db5;--synthetic:#d9730d;--holdout:#8a8f98;--pass:#1a7f4b;--warn:#a96500;--fail:#c5303a;--open:#7a5ea8;
--bad:#c5303a1c;--heat:196,72,28}
@media(prefers-color-scheme:dark){:root{--bg:#15171b;--card:#1d2025;--ink:#e8e6e1;--soft:#a3a9b4;--faint:#343941;--grid:#292d34;
--train:#6ea8ea;--synthetic:#f2a154;--holdout:#8d949f;--pass:#4cc38a;--warn:#e2a93b;--fail:#f2777d;--open:#b69be0;
--bad:#f2777d26;--heat:242,140,80}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px;font-weight:650}
h2{font-size:19px;margin:38px 0 4px;font-weight:650}
h3{font-size:15px;margin:22px 0 6px;font-weight:650}
p{margin:6px 0 10px;max-width:78ch}
.lead,.soft,figcaption,small{color:var(--soft)}
.head{display:flex;gap:24px;justify-content:space-between;align-items:flex-start;flex-wrap:wrap}
.banner{border-radius:10px;padding:12px 18px;margin:18px 0;border:1px solid var(--faint);border-left:6px solid var(--soft);
background:var(--card)}
.banner b{font-size:18px}.banner.pass{border-left-color:var(--pass)}.banner.fail{border-left-color:var(--fail)}
.facts{display:flex;gap:26px;flex-wrap:wrap;margin:14px 0}.facts div{min-width:90px}
.facts b{display:block;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
.panel{background:var(--card);border:1px solid var(--faint);border-radius:10px;padding:6px 16px;margin:10px 0;overflow-x:auto}
ul.words{margin:8px 0;padding-left:20px;max-width:84ch}ul.words li{margin:5px 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft);font-size:12.5px;padding:8px 10px 6px 0;
border-bottom:1px solid var(--faint)}
td{padding:7px 10px 7px 0;border-bottom:1px solid var(--grid);vertical-align:middle}
tr:last-child td{border-bottom:0}td.r,th.r{text-align:right}
td small{display:block;line-height:1.35}.one code{white-space:nowrap;overflow-wrap:normal}
code{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.light{display:inline-flex;align-items:center;gap:7px;font-weight:600;white-space:nowrap;font-size:13px}
.light i{width:19px;height:19px;border-radius:50%;display:inline-flex;align-items:center;justify-content:center;
color:var(--card);font:700 12px/1 system-ui;background:var(--soft)}
.pass i{background:var(--pass)}.warn i{background:var(--warn);border-radius:4px}
.fail i{background:var(--fail);border-radius:4px}
.inconclusive i{background:var(--open);border-radius:4px}.not_applicable i,.none i{background:var(--holdout)}
.pass{--this:var(--pass)}.warn{--this:var(--warn)}.fail{--this:var(--fail)}.inconclusive{--this:var(--open)}
.none,.not_applicable{--this:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(430px,1fr));gap:12px}
.grid>.panel{margin:0;padding:10px 14px}.small{grid-template-columns:repeat(auto-fit,minmax(225px,1fr))}
figure{margin:4px 0}figcaption{font-size:12.5px;line-height:1.4;margin-bottom:4px}
figcaption b{display:block;color:var(--ink);font-size:14px;font-weight:600}
svg{display:block;width:100%;height:auto}svg text{fill:var(--ink)}
.t{font-size:10.5px;fill:var(--soft)!important}.n{font-size:11px}.lab{font-size:12px}.v{font-size:11px;font-weight:600}
line.grid{stroke:var(--grid)}.axis,.tick{stroke:var(--holdout);stroke-width:1}
.train,.synthetic,.holdout,.chance,.band{fill:none;stroke-width:2}.train{stroke:var(--train)}.synthetic{stroke:var(--synthetic)}
.holdout{stroke:var(--holdout);stroke-dasharray:4 3}.chance{stroke:var(--holdout);stroke-width:1;stroke-dasharray:2 3}
.band{stroke:var(--open);stroke-width:1.5;stroke-dasharray:6 3}
.d-train{fill:var(--train)}.d-synthetic{fill:var(--synthetic)}.d-holdout{fill:var(--holdout)}.d-soft{fill:var(--faint)}
.a0{stroke:var(--fail);fill:none;stroke-width:2}.a1{stroke:var(--train);fill:none;stroke-width:2}
.a2{stroke:var(--synthetic);fill:none;stroke-width:2}
.bad{fill:var(--bad)}.quiet{fill:var(--grid)}.line{stroke:var(--ink);stroke-width:1.5}
.whisker{stroke:var(--this,var(--soft));stroke-width:3;stroke-linecap:round;opacity:.45}
.dot{fill:var(--this,var(--soft));stroke:var(--card);stroke-width:1.5}.mark{width:230px}
.link{stroke:var(--holdout);stroke-width:2}.floor{stroke:var(--holdout);stroke-width:2}.onheat{font-size:10.5px;fill:#fff!important}
.key{display:flex;gap:16px;flex-wrap:wrap;font-size:12.5px;color:var(--soft);margin:4px 0 8px}
.key span::before{content:"";display:inline-block;
width:14px;height:3px;margin-right:6px;vertical-align:middle;background:var(--c)}
details{margin:12px 0}summary{cursor:pointer;font-weight:600}
@media print{:root{--bg:#fff}body{font-size:12px}.panel,figure,tr{break-inside:avoid}}
"""

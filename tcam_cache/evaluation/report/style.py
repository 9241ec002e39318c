"""The style sheet of reports: one column, light or dark as the reader's system, legible from 420 pixels."""

STYLE = """
:root { --ink: #1c2026; --soft: #667085; --line: #e4e7ec; --paper: #fff; --ground: #f6f7f9; --main: #0b6e99;
  --true: #2ecc40; --predicted: #ff5214; --bar: #eaeef2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #9aa3b2; --line: #30363f;
  --paper: #171a1f; --ground: #0f1114; --main: #4db2d9; --bar: #2a3038; color-scheme: dark; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 32px 24px 64px; }
header p { color: var(--soft); max-width: 80ch; margin: 0; }
header b { color: var(--ink); }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 0 0 6px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px;
  margin-top: 18px; }
.note { color: var(--soft); margin: 0 0 12px; max-width: 100ch; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 12px;
  margin-bottom: 12px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.card b { display: block; font-size: 27px; line-height: 1.15; font-variant-numeric: tabular-nums; }
.card span { display: block; font-weight: 600; font-size: 14px; }
.card small { color: var(--soft); }
.card:first-child { background: #0b6e99; border-color: #0b6e99; color: #fff; }
.card:first-child small { color: #d6eaf3; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; vertical-align: bottom; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); }
td:first-child { font-weight: 600; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
th.n { white-space: normal; }
tr.mean td { font-weight: 700; border-top: 2px solid var(--ink); border-bottom: 0; }
.bar { min-width: 190px; white-space: nowrap; }
.bar i { display: inline-block; width: calc(100% - 52px); max-width: 260px; height: 9px; border-radius: 5px;
  background: var(--bar); overflow: hidden; margin-right: 8px; }
.bar u { display: block; height: 100%; background: var(--main); }
.chart { width: 100%; height: auto; display: block; font-size: 11px; }
.chart text { fill: var(--soft); }
.chart .name, .chart .mark { fill: var(--ink); font-weight: 600; }
.chart .mark { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.chart .grid { stroke: var(--line); }
.figures { display: grid; gap: 18px; }
.figures > * { min-width: 0; }
figure { margin: 0; border-left: 5px solid var(--predicted); padding-left: 12px; }
figure.hit { border-left-color: var(--true); }
figcaption { display: flex; flex-wrap: wrap; gap: 12px; align-items: baseline; margin-bottom: 4px; }
figcaption b { text-transform: uppercase; font-size: 12px; letter-spacing: .06em; }
figcaption em { font-style: normal; font-weight: 600; }
figcaption code { color: var(--soft); font-size: 12px; }
figure img { max-width: 100%; height: auto; display: block; }
.key { display: inline-block; width: 13px; height: 13px; border: 3px solid; vertical-align: -2px;
  margin-left: 6px; }
.key.true { border-color: var(--true); }
.key.predicted { border-color: var(--predicted); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { font-weight: 600; }
dd { margin: 0; color: var(--soft); }
pre { margin: 0; overflow-x: auto; font-size: 12px; line-height: 1.45; color: var(--soft); }
@media (max-width: 700px) { main { padding: 18px 10px; } section { padding: 14px 12px; }
  dl { grid-template-columns: 1fr; } .bar { min-width: 110px; } th, td { padding-right: 8px; } }
"""

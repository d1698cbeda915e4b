"""How the page looks: in light and dark, on a telephone and on a wide screen."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """\
:root {
  color-scheme: light dark;
  --ground: #faf9f7; --raised: #ffffff; --ink: #1d1c1a; --soft: #5e5a54; --line: #e3dfd8;
  --link: #0a625d; --focus: #0a7d76;
  --banner: #ffe7ae; --on-banner: #453000;
  --plain: #ece9e4; --on-plain: #4e4a44;
  --good: #dcf2e3; --on-good: #14532d;
  --bad: #fde3df; --on-bad: #8b1d13;
  --busy: #dfeafc; --on-busy: #1c437f;
  --seen: #fff6dc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #151412; --raised: #1d1c19; --ink: #eceae5; --soft: #aaa59c; --line: #35322d;
    --link: #6fd0c7; --focus: #6fd0c7;
    --banner: #4b3708; --on-banner: #ffe3a3;
    --plain: #2f2d29; --on-plain: #cfcac1;
    --good: #15361f; --on-good: #a0e4b5;
    --bad: #44191a; --on-bad: #ffb9b0;
    --busy: #1a2f50; --on-busy: #b3d0ff;
    --seen: #322a14;
  }
}
*, ::before, ::after { box-sizing: border-box; }
html { background: var(--ground); scroll-padding-top: 1rem; }
body {
  margin: 0; color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
}
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .2em; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 2px; }
main:focus { outline: none; }
code { font: .875em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
p { margin: 0; max-width: 65ch; }

.unseen {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}
.skip { position: absolute; left: -99rem; background: var(--raised); padding: .5rem 1rem; }
.skip:focus { left: .5rem; top: .5rem; }

.banner {
  max-width: none; padding: .5rem 1rem; background: var(--banner); color: var(--on-banner);
  text-align: center;
}
.bar, main { max-width: 76rem; margin: 0 auto; padding: 0 1.5rem; }
.bar {
  display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1.5rem;
  min-height: 3.75rem; padding-top: .5rem; padding-bottom: .5rem;
}
.brand { font-weight: 650; letter-spacing: -.01em; }
nav { display: flex; flex-wrap: wrap; gap: 0 1.25rem; margin-right: auto; }
nav a { padding: .375rem 0; color: var(--soft); text-decoration: none; }
nav a:hover { color: var(--ink); text-decoration: underline; }
nav [aria-current] { color: var(--ink); box-shadow: inset 0 -2px var(--link); }
#state { color: var(--soft); font-size: .875rem; }
#state:not(:empty)::before {
  content: ""; display: inline-block; width: .5rem; height: .5rem; margin-right: .5rem;
  border-radius: 50%; background: var(--soft);
}
#state.live::before { background: #2e9d5b; }
#state.lost { color: var(--on-bad); }
#state.lost::before { background: currentcolor; }

main { padding-bottom: 3rem; }
h1 {
  margin: 1.25rem 0 1rem; font-size: 1.75rem; line-height: 1.2; font-weight: 650;
  letter-spacing: -.02em;
}
h2 { margin: 0; font-size: 1.0625rem; line-height: 1.4; font-weight: 650; }
section { margin-top: 2.25rem; }
h1 + section { margin-top: 0; }
section > p, h1 + p { margin-bottom: .75rem; color: var(--soft); }
.head {
  display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between;
  gap: .5rem 1rem; min-height: 2.25rem; margin-bottom: .5rem;
}
.beside, .hand { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; }
.beside { color: var(--soft); font-size: .875rem; }
.hand { gap: .75rem; }
.problem {
  max-width: none; margin-bottom: 1.5rem; padding: .75rem 1rem; border-radius: .375rem;
  background: var(--bad); color: var(--on-bad);
}
.note { margin-bottom: .75rem; padding-left: .75rem; border-left: 3px solid var(--line); }
.more { margin-top: .5rem; color: var(--soft); font-size: .875rem; }
.empty {
  max-width: none; padding: 1rem; border: 1px dashed var(--line); border-radius: .5rem;
  color: var(--soft);
}

dl, dd { margin: 0; }
dt { color: var(--soft); font-size: .8125rem; }
.counts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1px;
  border: 1px solid var(--line); border-radius: .5rem; overflow: hidden;
  background: var(--line);
}
.counts div { padding: .75rem 1rem; background: var(--raised); }
.counts dd { font-size: 1.5rem; line-height: 1.3; font-weight: 600; letter-spacing: -.01em; }
.counts .alert dd { color: var(--on-bad); }
.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr));
  gap: 1rem 1.5rem;
}
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
footer dl { display: flex; flex-wrap: wrap; gap: .75rem 2.5rem; }
footer dd { font-size: .875rem; }

.scroll {
  position: relative; overflow-x: auto; border: 1px solid var(--line);
  border-radius: .5rem; background: var(--raised);
}
table { width: 100%; border-collapse: collapse; font-size: .9375rem; }
th, td { padding: .5rem 1rem; text-align: left; vertical-align: middle; }
th { color: var(--soft); font-size: .8125rem; font-weight: 500; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); }
tbody tr:target { background: var(--seen); }
td form { display: flex; justify-content: flex-end; }
.number, .digits { white-space: nowrap; }

.chip {
  display: inline-block; padding: .0625rem .5rem; border-radius: 1rem; font-size: .8125rem;
  line-height: 1.5; white-space: nowrap; background: var(--plain); color: var(--on-plain);
}
.chip.good { background: var(--good); color: var(--on-good); }
.chip.bad { background: var(--bad); color: var(--on-bad); }
.chip.busy { background: var(--busy); color: var(--on-busy); }

.flow {
  display: flex; flex-wrap: wrap; gap: 0 .375rem; margin: 0; padding: 0; list-style: none;
  font-size: .875rem; overflow-wrap: anywhere;
}
.flow li + li::before { content: "\\2192"; margin-right: .375rem; color: var(--soft); }
.flow .done, .flow .more { color: var(--soft); }
.flow .more { margin: 0; font-style: italic; }
.flow .now { font-weight: 650; color: var(--on-busy); }

tr.done, tr.next { color: var(--soft); }

form { margin: 0; }
.hand form { display: flex; align-items: center; gap: .5rem; }
button, input, select { font: inherit; color: inherit; min-height: 2.25rem; }
button {
  padding: .1875rem .875rem; border: 1px solid var(--line); border-radius: .375rem;
  background: var(--raised); cursor: pointer; white-space: nowrap;
}
td button, .beside button, #pause { min-height: 1.875rem; font-size: .875rem; }
button:hover { border-color: var(--soft); }
button:active { background: var(--plain); }
input, select {
  padding: .1875rem .625rem; border: 1px solid var(--soft); border-radius: .375rem;
  background: var(--raised); max-width: 100%;
}
.add form {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr));
  align-items: end; gap: 1rem;
}
.add input, .add select { width: 100%; }
.add button {
  justify-self: start; border-color: var(--link); background: var(--link);
  color: var(--ground);
}
.add button:hover { filter: brightness(1.1); }
label { display: block; margin-bottom: .25rem; color: var(--soft); font-size: .8125rem; }
.hand label { margin: 0; }

@media (min-width: 64rem) {
  .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.5rem; }
}
@media (max-width: 40rem) {
  .bar, main { padding-left: 1rem; padding-right: 1rem; }
  nav { order: 1; width: 100%; }
  .brand { margin-right: auto; }
  h1 { font-size: 1.5rem; }
  th, td { padding: .5rem .625rem; }
  .facts { grid-template-columns: repeat(2, 1fr); gap: .75rem 1rem; }
  .messages tr { display: grid; grid-template-columns: 7rem 1fr auto; padding: .25rem 0; }
  .messages td { padding: .125rem .625rem; }
  .messages td:nth-child(2)::before { content: "leg "; }
  .messages td:last-child { grid-column: 1 / -1; }
  .calls thead, .messages thead { position: absolute; clip-path: inset(50%); }
  .calls tr { display: grid; grid-template-columns: 1fr auto 7rem; }
  .calls td { padding-bottom: 0; }
  .calls td:last-child { grid-column: 1 / -1; padding: .25rem .625rem .5rem; }
  .beside button { padding: .1875rem .5rem; }
  .counts { grid-template-columns: repeat(2, 1fr); }
  .counts div { padding: .5rem .75rem; }
}
@media (prefers-reduced-motion: no-preference) {
  button, nav a { transition: border-color .1s, color .1s; }
}
"""

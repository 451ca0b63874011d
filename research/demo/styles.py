"""Style of the page, for light and dark colours."""

CSS = """
.gradio-container main { width: 100%; max-width: 1280px; margin: 0 auto; }
.html-container { padding: 0 !important; }
.facts-block h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0 0 .5rem; }
.facts div { display: flex; gap: .4rem; min-width: 0; }
.facts dt, .message, .note, .prediction span, .legend li {
  color: color-mix(in srgb, var(--body-text-color) 70%, transparent); }
.facts dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.message, .note { margin: 0; }
.note { font-size: .9rem; margin-top: .5rem; }
.prediction { font-size: 1.25rem; margin: 0 0 .75rem; overflow-wrap: anywhere; }
.prediction span { font-size: 1rem; }
.bars { list-style: none; margin: 0; padding: 0 .25rem 0 0; max-height: 22rem; overflow-y: auto; }
.bars li { display: grid; grid-template-columns: minmax(4rem, 30%) 1fr 3.6rem; gap: .75rem; align-items: center;
  margin: 0 0 .35rem; }
.bars .label { overflow-wrap: anywhere; }
.bars .predicted .label { font-weight: 600; }
.bars .track { position: relative; height: .9rem; border-radius: .2rem; background: var(--border-color-primary); }
.bars .bar { position: absolute; inset: 0 auto 0 0; border-radius: .2rem; background: rgb(59 130 246); }
.bars .threshold { position: absolute; top: -.15rem; bottom: -.15rem; width: 2px; background: var(--body-text-color); }
.bars .value { text-align: right; font-variant-numeric: tabular-nums; }
.tokens { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24rem; overflow-y: auto; line-height: 1.75;
  padding: .75rem; border: 1px solid var(--border-color-primary); border-radius: .4rem; margin-bottom: .75rem; }
.token { border-radius: .2rem; padding: .1rem 0; }
.token.for { background: rgb(59 130 246 / var(--strength)); }
.token.against { background: rgb(249 115 22 / var(--strength)); }
.tokens .truncated { opacity: .45; }
.legend { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem;
  font-size: .9rem; }
.legend li { display: flex; gap: .5rem; align-items: baseline; }
.swatch { flex: none; width: .8rem; height: .8rem; border-radius: .2rem; }
.swatch.for { background: rgb(59 130 246 / 65%); }
.swatch.against { background: rgb(249 115 22 / 65%); }
.swatch.truncated { background: var(--body-text-color); opacity: .45; }
#table .rows { overflow-x: auto; max-height: 36rem; border: 1px solid var(--border-color-primary);
  border-radius: .4rem; }
#table table { border-collapse: collapse; width: 100%; margin: 0; }
#table table, #table thead, #table tbody, #table tr { border: 0; }
#table th, #table td { border: 0; border-bottom: 1px solid var(--border-color-primary); padding: .35rem .6rem;
  text-align: left; vertical-align: top; }
#table tr:last-child td { border-bottom: 0; }
#table th { position: sticky; top: 0; background: var(--background-fill-primary); white-space: nowrap; }
#table td.text:not(.prediction) { min-width: 12rem; overflow-wrap: anywhere; }
#table .prediction { font-size: inherit; font-weight: 600; }
#table .number { text-align: right; font-variant-numeric: tabular-nums; }
#table .download { display: inline-block; margin-top: .5rem; padding: 0; }
"""

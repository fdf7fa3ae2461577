"""What an ``AuditResult`` looks like to a reader. Its only input is the result; it asks no model and computes no claim.

- ``html.write_report``: the report, one self-contained file (``report.html.jinja``, ``report.css``, ``report.js``)
- ``redact.redact``: the result without ids, units, small groups and file names
- ``text.summary_text``, ``text.record_text``: the same facts for a terminal
- ``compare.compare_results``, ``compare.comparison_text``: two audits side by side
- ``model_card.model_card``: a paragraph for a model card
- ``wording``: every sentence that promises something; ``numbers``: how numbers are printed
- ``figures``, ``svg``: the drawings; ``tables``, ``attack_tables``, ``record_table``: the tables
"""

"""What a scoring run found out: from a row an image and backend to figures, a verdict in words, tables and a report.

    rows -> measure.measure -> results.Scoring -> tables.print_scoring, report.render

Pure functions without a store or a server, so that every way to run a job (the service, the command line, a cluster) is judged by the
same ones. Each measure is defined in docs/measures.md. Nothing heavy is imported before it is used.
"""

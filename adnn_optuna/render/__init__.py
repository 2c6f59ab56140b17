"""A document as text, Markdown, HTML, JSON and figures."""

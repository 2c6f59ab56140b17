"""Render a document as text, Markdown, HTML, JSON and figures."""

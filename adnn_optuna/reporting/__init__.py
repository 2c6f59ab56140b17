"""How facts are told: sentences, tables, pages."""

"""What studies show: statistics, sentences, pages."""

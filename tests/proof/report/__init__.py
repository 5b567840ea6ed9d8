"""The proof of `report`: large files, a real browser, a real terminal, and records at random."""

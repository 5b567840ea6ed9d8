"""What the reports cost the event loop, beside the published recipe: `python -m tests.proof.bench`."""

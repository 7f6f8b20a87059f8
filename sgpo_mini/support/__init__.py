"""What the method stands on: reading what users bring, and refusing in words what can't work.

Answers, records and files are read and written here; a model, a reward or a launcher is checked
before a run, and a run is watched and kept. A reader who wants the method can skip this folder. It
belongs to the core: the files beside it need it, and it imports no wing.
"""

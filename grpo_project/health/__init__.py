"""Whether a run is sound: the tokens of its first steps, the figures of every log line, and the alarms they raise."""

"""What follows a run: observers of a handful of events (runs/observer.py), behind one Trainer callback (trainer_events.py).

wandb.py and enhanced_inference_callback.py are callbacks for other people's Trainers, under the names that the guides give.
"""

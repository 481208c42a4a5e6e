"""What every floor may use: files that are whole or absent, named random streams, rates with their uncertainty, paths, ranks."""

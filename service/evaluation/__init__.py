"""How good the live frame path's matte is, over clips whose alpha is known exactly."""

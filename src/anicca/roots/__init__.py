"""The root that forgets: what the initrd does to hand over a blank one, whatever filesystem it is on."""

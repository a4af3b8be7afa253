"""Files that a scene names: found below its folder, and decoded within the memory that their headers announce."""

"""Everything that imports Ray. Named so because a package called `ray` would shadow Ray itself."""

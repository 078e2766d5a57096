"""How the tests check types at run time: an int passes for a float, as it does in Python."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

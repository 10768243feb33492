"""Every error that Screenwise raises on purpose.

.. code-block:: text

    ScreenwiseError
    ├── DataError            a file, table or array is not what it must be
    │   ├── ColumnError      a column is missing, doubled or ambiguous
    │   └── StructureError   a SMILES, sequence or gene name cannot be read
    ├── ConfigError          a setting has a wrong name, type or value
    ├── DatasetError         a named dataset is unknown, damaged or out of reach
    ├── ModelError           a model cannot be fitted, read or asked this
    ├── DesignError          no round or plate satisfies the rules
    ├── CampaignError        the campaign is in the wrong state for this, or damaged
    ├── ProcessError         a process that shared the work ended without an answer
    └── MissingDependency    an optional package is needed; the message says what to type

Each message says what is wrong, what was found, and what to do. The command line prints the
message without a traceback and ends with exit code 1.
"""


class ScreenwiseError(Exception):
    """Base of all errors raised on purpose."""


class DataError(ScreenwiseError):
    """A file, table or array is not what it must be."""


class ColumnError(DataError):
    """A column is missing, doubled or ambiguous."""


class StructureError(DataError):
    """A SMILES, sequence or gene name cannot be read."""


class ConfigError(ScreenwiseError):
    """A setting has a wrong name, type or value."""


class DatasetError(ScreenwiseError):
    """A named dataset is unknown, damaged or out of reach."""


class ModelError(ScreenwiseError):
    """A model cannot be fitted, read or asked this."""


class DesignError(ScreenwiseError):
    """No round or plate satisfies the rules."""


class CampaignError(ScreenwiseError):
    """The campaign is in the wrong state for this, or damaged."""


class ProcessError(ScreenwiseError):
    """A process that shared the work ended without an answer."""


class MissingDependency(ScreenwiseError):
    """An optional package is needed; the message says what to type."""

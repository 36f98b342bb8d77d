"""The command line: words and tables over the library's public names."""

import gc

# Importing leaves no garbage, and looking for some takes a tenth of the start-up. The collector
# goes on again when the command is loaded.
gc.disable()

"""Checkpoints of a run: written whole or not at all, verified before they are used.

A run's folder holds `checkpoints/<step>/`, and each of these:

    tree/          the arrays of the training state, written by orbax under their names
    loop.json      what the loop needs to go on: position, early stopping, history
    manifest.json  every other file with its size and sha256; every array with shape and dtype; the
                   format and the version of fx

A step is written to `<step>.tmp` and renamed when it is complete, so that a folder called by a
number is complete. Old steps are renamed before they are removed, for the same reason. Who writes
holds a lock on the run's folder, which dies with its process.
"""

from fx.checkpoint.lock import only_writer as only_writer
from fx.checkpoint.manifest import verify as verify
from fx.checkpoint.reading import restore as restore
from fx.checkpoint.reading import restore_weights as restore_weights
from fx.checkpoint.reading import steps as steps
from fx.checkpoint.writing import Writer as Writer
from fx.checkpoint.writing import save as save

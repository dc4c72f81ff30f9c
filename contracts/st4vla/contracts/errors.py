"""The exception tree that every room shares.

::

    St4vlaError                      anything this project refuses or cannot do
    ├── ManifestError                a JSON manifest is missing, unreadable or of another format version
    ├── FileMissingError             a file that a manifest names is not there
    ├── FileAlteredError             a file's bytes are not those that a manifest promises
    ├── SignatureError               unsigned, altered, or signed by a key that is not trusted for it
    ├── DowngradeError               a release or a trust list that is older than what a device has committed
    ├── PromptError                  an instruction or template that cannot become a prompt
    ├── WireError                    bytes that are not one of our messages
    │   ├── ForeignMessageError      wrong magic: somebody else's protocol
    │   ├── WireVersionError         ours, but of another wire version
    │   ├── TruncatedMessageError    shorter or longer than its header says
    │   ├── ChecksumError            the CRC does not match
    │   └── MalformedMessageError    a field holds a value it may not hold
    ├── ObservationError             a valid message that does not fit the bundle being served
    ├── EngineError                  an engine that cannot be built, loaded or run
    │   ├── BackendUnavailableError  the engine library is not installed or has no device
    │   ├── EngineInputError         feeds that do not fit the engine's inputs
    │   ├── FingerprintMismatchError engines that were compiled on another device or compiler
    │   ├── BudgetError              engines that are slower than their release allows
    │   └── ParityError              outputs that differ from the bundle's golden outputs
    ├── UnsafeOutputError            a policy output that may not reach a robot (NaN, infinity)
    ├── TransportError               a socket that cannot be opened or a peer that does not answer
    │   ├── PortInUseError
    │   ├── ServerUnreachableError
    │   ├── LinkError                the way to a device cannot be opened, or was cut
    │   └── UnsafeBindError          an address that others can reach, without keys
    ├── FlashError                   a device that does not take a bundle
    │   ├── PreflightError           the bundle is not for it, or it is in no state to take one
    │   ├── DeviceBusyError          it is being flashed already
    │   ├── TrialError               the new policy served and did not do well; the old one is back
    │   └── CancelledError           whoever flashed it changed their mind
    ├── KeyFileError                 a key file that is missing, malformed, or open to others
    ├── DatasetError                 training data that cannot be read or does not mean anything
    ├── TrainingError                a training that cannot go on, such as one whose loss is not finite
    ├── StorageError                 a file that cannot be written: a full disk, a missing permission
    ├── RecordingError               a recorded session that cannot be read, or was made with another policy
    ├── SourceError                  a camera, video or image folder that cannot be read
    ├── MissingExtraError            an optional dependency that this command needs
    └── UsageError                   a command line that asks for something impossible

Messages say the value, what is allowed, and what to do.
"""


class St4vlaError(Exception):
    """Base of every error this project raises on purpose."""


class ManifestError(St4vlaError):
    """A manifest is missing, unreadable, or of a format version this build does not read."""


class FileMissingError(St4vlaError):
    """A file that a manifest names is not there."""


class FileAlteredError(St4vlaError):
    """A file's size or SHA-256 is not the one its manifest promises."""


class SignatureError(St4vlaError):
    """A statement is not signed, was altered after that, or its key is not trusted for it."""


class DowngradeError(St4vlaError):
    """A release or a trust list is older than what the device has committed."""


class PromptError(St4vlaError):
    """An instruction or a template that cannot become a prompt."""


class WireError(St4vlaError):
    """Bytes that are not one of our messages."""


class ForeignMessageError(WireError):
    """The first four bytes are not our magic."""


class WireVersionError(WireError):
    """The message is ours, but of a wire version this build does not speak."""


class TruncatedMessageError(WireError):
    """The message is shorter or longer than its header says."""


class ChecksumError(WireError):
    """The CRC-32C in the header is not that of the bytes."""


class MalformedMessageError(WireError):
    """A field holds a value that it may not hold."""


class ObservationError(St4vlaError):
    """A valid observation that does not fit the bundle being served."""


class EngineError(St4vlaError):
    """An engine cannot be built, loaded or run."""


class BackendUnavailableError(EngineError):
    """The engine library is not installed, or finds no device."""


class EngineInputError(EngineError):
    """Feeds do not fit the engine's inputs."""


class FingerprintMismatchError(EngineError):
    """Engines were compiled on another device, compiler or driver."""


class BudgetError(EngineError):
    """Engines are slower than their release allows."""


class ParityError(EngineError):
    """Outputs differ from the bundle's golden outputs by more than the bound."""


class UnsafeOutputError(St4vlaError):
    """A policy output holds NaN or infinity and may not reach a robot."""


class TransportError(St4vlaError):
    """A socket cannot be opened, or a peer does not answer."""


class PortInUseError(TransportError):
    """Another process listens on the address."""


class ServerUnreachableError(TransportError):
    """No answer from a server within the time given."""


class LinkError(TransportError):
    """The way to a device cannot be opened, or was cut.

    Attributes:
        again: Whether trying again may help.
    """

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class UnsafeBindError(TransportError):
    """A server without keys may not listen where other machines can reach it."""


class FlashError(St4vlaError):
    """A device does not take a bundle, and goes on as before."""


class PreflightError(FlashError):
    """The bundle is not for this device, or the device is in no state to take one."""


class DeviceBusyError(FlashError):
    """The device is being flashed already."""


class TrialError(FlashError):
    """The new policy served and did not do well; the old one is back."""


class CancelledError(FlashError):
    """The flash was cancelled before it switched."""


class KeyFileError(St4vlaError):
    """A key file is missing, malformed, of the wrong kind, or can be read by others; never holds what is in it."""


class DatasetError(St4vlaError):
    """Training data cannot be read, or a record of it does not mean anything."""


class TrainingError(St4vlaError):
    """A training cannot go on."""


class StorageError(St4vlaError):
    """A file cannot be written."""


class RecordingError(St4vlaError):
    """A recorded session cannot be read, or was made with another policy."""


class SourceError(St4vlaError):
    """A camera, video file or image folder cannot be read."""


class MissingExtraError(St4vlaError):
    """An optional dependency that this command needs is not installed."""


class UsageError(St4vlaError):
    """A command line asks for something impossible."""

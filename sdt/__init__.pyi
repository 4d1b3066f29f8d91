from sdt import errors as errors
from sdt.api.classifier import SdtClassifier as SdtClassifier
from sdt.api.fitting import fit as fit
from sdt.api.running import run as run
from sdt.trained.comparing import compare as compare
from sdt.trained.fitted import Fitted as Fitted
from sdt.trained.load import Run as Run
from sdt.trained.load import load as load

__version__: str

"""Contracts: what the library relies on in an activation or a feature map, as tests that a subclass inherits.

For those who write their own. Any runner of test classes will do, such as pytest:

    from mupi.testing import ActivationContract, FeatureMapContract

    class TestSoftsign(ActivationContract):
        def activation(self):
            return Softsign()

    class TestFourier(FeatureMapContract):
        def features(self):
            return Fourier(width=64)
"""

from mupi.testing.activation_contract import ActivationContract
from mupi.testing.closeness import assert_close, assert_equal
from mupi.testing.feature_map_contract import FeatureMapContract

__all__ = ["ActivationContract", "FeatureMapContract", "assert_close", "assert_equal"]

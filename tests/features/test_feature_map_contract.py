"""Our feature maps keep what the library asks of any: the tests are those that users run on theirs."""

from mupi import Atoms, Hermite, RandomFeatures
from mupi.testing import FeatureMapContract


class TestAtoms(FeatureMapContract):
    transforms = False

    def features(self):
        return Atoms()


class TestHermite(FeatureMapContract):
    error = 0.05

    def features(self):
        return Hermite(2)


class TestHermiteOfHighDegree(FeatureMapContract):
    error = 1e-4

    def features(self):
        return Hermite(6)


class TestHermiteInFewDirections(FeatureMapContract):
    error = 0.1

    def features(self):
        return Hermite(3, subspace={2: 3, 3: 1}, window=64)


class TestRandomFeatures(FeatureMapContract):
    error = 0.2
    samples = False

    def features(self):
        return RandomFeatures(400)

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A table, from the CSV to what was learned
#
# You have a file with a column to predict, words among its columns, and gaps. Three estimators, in the conventions of
# scikit-learn: a Gaussian process, a neural tangent kernel, and an infinitely wide network that learns features. Which
# one is better depends on the table, so we look at one of each kind.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mupi.estimators import NNGPClassifier, NNGPRegressor, PiClassifier
from mupi.figures import plot_importances

# %% [markdown]
# ## The file
#
# Flats: rent depends on size, floor and town, and some sizes are missing.

# %%
draw = np.random.default_rng(0)
rows = 300
flats = pd.DataFrame(
    {
        "size": draw.uniform(20, 120, rows).round(1),
        "floor": draw.integers(0, 6, rows),
        "town": draw.choice(["Bonn", "Köln", "Trier"], rows),
    }
)
per_meter = flats["town"].map({"Bonn": 11.0, "Köln": 14.0, "Trier": 9.0})
flats["rent"] = (per_meter * flats["size"] ** 0.9 + 8 * flats["floor"] + draw.normal(0, 25, rows)).round()
flats.loc[draw.choice(rows, 15, replace=False), "size"] = np.nan
path = Path(tempfile.mkdtemp()) / "flats.csv"
flats.to_csv(path, index=False)
flats.head()

# %% [markdown]
# ## Predictions with error bars
#
# The estimators take numbers without gaps; what makes such of words and gaps is scikit-learn's, and belongs into the
# pipeline, so that cross-validation does it anew in each fold. Columns are standardized by the estimator itself.

# %%
table = pd.read_csv(path)
columns, rent = table.drop(columns="rent"), table["rent"]
numbers = make_column_transformer((OneHotEncoder(), ["town"]), (SimpleImputer(add_indicator=True), ["size", "floor"]))
model = make_pipeline(numbers, NNGPRegressor())
scores = cross_val_score(model, columns, rent, cv=4)
print(f"R² on rows left out: {scores.mean():.2f} ± {scores.std():.2f}")
assert scores.mean() > 0.85

# %%
seen, new, seen_rent, new_rent = train_test_split(columns, rent, random_state=0)
model.fit(seen, seen_rent)
mean, std = model[-1].predict(model[:-1].transform(new), return_std=True)
order = np.argsort(mean)
plt.errorbar(range(len(new)), mean[order], 1.645 * std[order], fmt="none", color="0.75", label="90 % interval")
plt.plot(new_rent.to_numpy()[order], "o", markersize=3, label="rent")
plt.xlabel("flats, by predicted rent")
plt.legend(frameon=False)
inside = (abs(new_rent - mean) < 1.645 * std).mean()
print(f"{inside:.0%} of the rents are inside")
assert 0.78 < inside <= 1

# %% [markdown]
# Widest are the intervals of flats whose size nobody has written down: the indicator of a gap is a column, too.
#
# ## Where features are needed
#
# A kernel looks at all columns alike, however many matter. Here the answer is decided by two of twelve, together:
# neither of them alone says anything.

# %%
X = draw.standard_normal((900, 12))
y = np.where(X[:, 3] * X[:, 8] > 0, "same sign", "different")
X, new, y, truth = X[:300], X[300:], y[:300], y[300:]

kernel = NNGPClassifier().fit(X, y)
learner = PiClassifier(rank=8, networks=2, steps=250, random_state=0).fit(X, y)
print(f"NNGP {kernel.score(new, truth):.1%}, π-limit {learner.score(new, truth):.1%}")
assert learner.score(new, truth) > kernel.score(new, truth) + 0.1

# %% [markdown]
# What has it learned? Its outputs move with two columns; that is what feature learning *is* here, and you can look
# at it:

# %%
figure = plot_importances(learner.feature_importances_, [f"column {i}" for i in range(12)])
assert set(np.argsort(-learner.feature_importances_)[:2]) == {3, 8}
figure

# %% [markdown]
# ## How sure is it
#
# Probabilities are calibrated on rows that were left out: of the answers given with 80 %, about 80 % are right.

# %%
probabilities = learner.predict_proba(new)
surest = probabilities.max(axis=1)
right = learner.classes_[probabilities.argmax(axis=1)] == truth
for low, high in ((0.5, 0.75), (0.75, 0.9), (0.9, 1.01)):
    within = (surest >= low) & (surest < high)
    if within.sum() > 20:
        print(f"said {surest[within].mean():.0%}, right {right[within].mean():.0%} ({within.sum()} rows)")

# %% [markdown]
# ## And now
#
# - On most small tables of well-chosen columns kernels are hard to beat: begin with `NNGPClassifier`.
# - Without Python: `mupi train --data flats.csv --target rent`, then `mupi predict` ([how to](../how-to/your-data.md)).
# - Against forests, boosting and the rest on 40 tables: [results](../results.md#tables).

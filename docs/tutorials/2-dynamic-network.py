# %% [markdown]
# # A network of dynamic depth
#
# Each layer has a width and a dropout of its own, and how many layers there are is searched too.
# Hyperparameters of a layer exist only where the layer does.

# %%
import cotune

# %% [markdown]
# The preset `mlp-per-layer` has that space.

# %%
result = cotune.run(
    "digits", space="mlp-per-layer", timeout="20s", portfolio=False, out="runs/dynamic-network"
)
result

# %%
trials = result.trials
trials[["state", "value", "n_layers", *sorted(c for c in trials if c.startswith("width_"))]].head(8)

# %% [markdown]
# A space of your own is a mapping, or a YAML file. `when` says for which values of another
# hyperparameter one exists.

# %%
space = {
    "n_layers": {"type": "int", "low": 1, "high": 2},
    "width_0": {"type": "int", "low": 32, "high": 128, "step": 32},
    "width_1": {"type": "int", "low": 16, "high": 64, "step": 16, "when": {"n_layers": 2}},
    "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "epochs": 15,
}
own = cotune.run("digits", space=space, n_trials=25, out="runs/own-space")
own.best_params

# %%
own.plot_slices()

# %%
own.plot_importances()

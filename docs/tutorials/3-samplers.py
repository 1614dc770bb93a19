# %% [markdown]
# # Grid, random and TPE
#
# Three ways to draw the next trial, with equal time. Weak trials are stopped at rungs: after 1, 3, 9
# epochs and so on, all but the best third. A search can also stop itself where nothing improves.

# %%
import cotune

# %%
comparison = cotune.compare(
    "digits", model="mlp", samplers="grid,random,tpe", seeds=1, timeout="8s", out="runs/samplers"
)

# %%
comparison.table

# %% [markdown]
# `patience` ends a search after so many trials that were no better by more than noise.

# %%
result = cotune.run(
    "digits", model="mlp", sampler="tpe", patience=30, n_trials=300, out="runs/patience"
)
result.summary.message

# %% [markdown]
# Which trials were stopped early, and after how many epochs:

# %%
result.trials.groupby("state")["epochs"].describe()

# %%
result.plot_curves()

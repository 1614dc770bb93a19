# %% [markdown]
# # A first tuned network
#
# A network for small pictures of clothes: 6,000 images of Fashion-MNIST, two minutes at most. The
# search sees training and validation rows alone. The test set is read once, at the end.
#
#     pip install cotune

# %%
import cotune

# %% [markdown]
# Look at the data first. `cotune.read` says what was understood.

# %%
dataset = cotune.read("fashion-mnist-small")
dataset

# %% [markdown]
# An MLP: layers, widths, learning rate, dropout, batch size, optimizer and the rest of the training
# are searched. Trials that fit together are trained together as one network.

# %%
result = cotune.run(dataset, model="mlp", timeout="30s", out="runs/first-network")

# %%
result

# %% [markdown]
# The test score has an interval, and the untuned default stands beside it. What Cotune found:

# %%
result.best_params

# %%
result.plot_history()

# %% [markdown]
# How the chosen trial learned, on the rows it was trained on and on the others:

# %%
result.plot_learning("accuracy")

# %%
result.plot_learning("loss")

# %% [markdown]
# Which classes the final model takes for which, and its worst mistakes:

# %%
result.plot_confusion()

# %%
result.plot_mistakes()

# %% [markdown]
# The final model is an `nn.Module`, trained on training and validation rows.

# %%
classes = result.predict(dataset.inputs[:5])
list(classes), [dataset.classes[label] for label in dataset.labels[:5]]

# %% [markdown]
# # A convolutional network
#
# Blocks, filters, residuals, normalisation and activation are searched; the learning rate is reduced
# where the validation loss stays on a plateau.

# %%
import cotune

# %%
result = cotune.run(
    "fashion-mnist-small",
    model="cnn",
    fixed={"schedule": "plateau"},
    timeout="40s",
    out="runs/cnn",
)
result

# %%
result.plot_learning("accuracy")

# %%
result.plot_learning("loss")

# %%
result.plot_mistakes()

# %% [markdown]
# A Keras model on the PyTorch backend is an `nn.Module` like any other. Set `KERAS_BACKEND=torch`
# before Keras is imported; its trials are trained one by one.
#
# ```python
# def build(trial, n_inputs, n_classes):
#     import keras
#
#     width = trial.suggest_int("width", 16, 128)
#     layers = [keras.layers.Input((n_inputs,)), keras.layers.Dense(width, "relu")]
#     return keras.Sequential([*layers, keras.layers.Dense(n_classes)])
# ```

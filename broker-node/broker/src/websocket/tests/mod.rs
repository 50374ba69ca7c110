mod frames;
mod upgrade;
